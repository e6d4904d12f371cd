"""A process that begins with its imports done ends, prints and is stopped as one that is started anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.preloaded import Process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere all processes are fresh ones"),
]

SCRIPTS = {
    "exit code": "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)",
    "exit of another kind": "import sys; sys.exit('error: too bad')",
    "exception": "raise ValueError('no good')",
    "Ctrl-C": "import signal; signal.raise_signal(signal.SIGINT)",
    "terminated": "import signal; signal.raise_signal(signal.SIGTERM)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "last words": "import atexit, threading, time; atexit.register(print, 'bye')\n"
    "threading.Thread(target=lambda: (time.sleep(0.1), print('thread'))).start(); print('main')",
    "surroundings": "import os, signal, sys, warnings\n"
    "print(__name__, __file__, sys.argv, sys.path[:3], os.getcwd(), os.getsid(0) == os.getpid(), sorted(os.environ))\n"
    "print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGPIPE))\n"
    "print([os.isatty(n) for n in range(3)], sys.stdin.read(), sys.stdout.line_buffering, sys.stderr.line_buffering)\n"
    "print(sorted(n for n in os.listdir('/proc/self/fd') if int(n) < 20), len(os.listdir('/proc/self/task')))\n"
    "warnings.warn('mind', ResourceWarning); warnings.warn('old', DeprecationWarning)",
}
LOADER = """
import random
import numpy as np
import torch
from torch.utils.data import DataLoader, get_worker_info
class Numbers(torch.utils.data.Dataset):
    def __len__(self): return 8
    def __getitem__(self, n): return n, get_worker_info().id, float(torch.conv2d(torch.ones(1, 1, 64, 64), torch.ones(1, 1, 3, 3)).sum())
batches = [batch for _ in range(2) for batch in DataLoader(Numbers(), batch_size=2, num_workers=2)]
print([batch[0].tolist() for batch in batches], {int(batch[1][0]) for batch in batches})
print(torch.initial_seed(), np.random.random(), random.random())
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    return tmp_path / "script.py"


def fresh(script: Path, env: dict[str, str], **streams) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, script, "a", "b=1"], cwd=script.parent, env=env, stdin=subprocess.DEVNULL,
                            text=True, start_new_session=True, **streams)  # fmt: skip


def told(process: Process | subprocess.Popen[str]) -> tuple[int | None, str, str]:
    """Its code and what it said; of a traceback the last line, for the first ones are of what started it."""
    with process:
        out, err = process.communicate()
    return process.returncode, out, err.splitlines()[-1] if "Traceback" in err else err


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_in_a_fresh_process(script, name):
    script.write_text(SCRIPTS[name])
    env = {**os.environ, "PYTHONPATH": "/own", "PYTHONWARNINGS": "default", "ONLY_HERE": "1"}
    ours = Process([str(script), "a", "b=1"], cwd=script.parent, env=env)
    assert ours.poll() in (None, ours.returncode)
    assert told(ours) == told(fresh(script, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def test_a_full_stdout(script):
    script.write_text("print('too much')")
    with open("/dev/full", "w") as full:
        ours = Process([str(script), "a", "b=1"], cwd=script.parent, env=os.environ, stdout=full)
        other = fresh(script, dict(os.environ), stdout=full, stderr=subprocess.PIPE)
        (code, _, err), (other_code, _, other_err) = told(ours), told(other)
    assert (code, err) == (other_code, other_err) and "No space left" in err and code


def test_workers_of_a_data_loader_and_chance(script):
    script.write_text(LOADER)
    env = {**os.environ, "PYTHONWARNINGS": "default"}
    first, second = (told(Process([str(script)], cwd=script.parent, env=env)) for _ in range(2))
    assert first[::2] == second[::2] == (0, "")
    loaded, chance, other = *first[1].splitlines(), second[1].splitlines()[1]
    assert loaded == f"{[[0, 1], [2, 3], [4, 5], [6, 7]] * 2} {{0, 1}}"
    assert all(one != two for one, two in zip(chance.split(), other.split(), strict=True))


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_from_outside(script, signum):
    script.write_text("import time\nprint('here', flush=True)\ntime.sleep(600)")
    process = Process([str(script)], cwd=script.parent, env=os.environ, stderr=subprocess.STDOUT)
    assert process.stdout and process.stdout.readline() == "here\n" and process.poll() is None
    process.send_signal(signum)
    assert process.wait() == process.poll() == -signum
    process.send_signal(signum)  # to nobody
    with process:
        assert ("KeyboardInterrupt" in process.stdout.read()) == (signum == signal.SIGINT)


WORKER = """
import os, sys
sys.path.insert(0, {root!r})
from tests.preloaded import Process
process = Process([{script!r}], cwd=".", env=os.environ, stderr=sys.stderr)
process.stdout.readline()
print(process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_nothing_outlives_a_worker_that_is_killed(script, tmp_path):
    root = str(Path(__file__).parents[1])
    child = "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)"
    script.write_text(f"import subprocess, sys, time\n{child}\nprint('here', flush=True)\ntime.sleep(600)")
    worker = [sys.executable, "-c", WORKER.format(root=root, script=str(script))]
    with subprocess.Popen(worker, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        # until all who hold its stderr have ended: the preloaded process, its keeper, the script's child
        out, err = process.communicate()
    assert process.returncode == -signal.SIGKILL and err == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(out), 0)
