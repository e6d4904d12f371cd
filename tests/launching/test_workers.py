"""Jobs in joblib's workers end with their sweep, however it ends, and can be resumed."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from camexp.launching.processes import ProcessResult, run_processes
from camexp.locks import lock_file
from camexp.run_files import IN_USE
from tests.conftest import PATIENCE, TINY, running


def until_there(*paths):
    deadline = time.monotonic() + PATIENCE
    while missing := [path for path in paths if not path.exists()]:
        assert time.monotonic() < deadline, missing
        time.sleep(0.05)


def test_processes_stop_when_they_must(tmp_path):
    ready = tmp_path / "ready"
    code = f"import pathlib, signal; pathlib.Path({str(ready)!r}).touch(); signal.pause()"
    ended = run_processes([[sys.executable, "-c", code]], [{}], must_stop=ready.exists)
    assert ended == ProcessResult(128 + signal.SIGTERM, "stopped by SIGTERM", signal.SIGTERM)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL", "Ctrl-C"])
def test_jobs_end_with_their_sweep(colours, tmp_path, how):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    options = ("-m", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_epochs=400", "logger=csv",
               "seed=0,1,2", "launch=cores", "hydra.launcher.n_jobs=2", "hydra.sweep.dir=sweep")  # fmt: skip
    jobs = [tmp_path / "sweep" / number for number in "01"]
    with running("train.py", *options, cwd=tmp_path) as sweep:
        until_there(*(job / "checkpoints" / "best.ckpt" for job in jobs))  # both train
        if how == "Ctrl-C":  # as a terminal sends it, to the workers too
            os.killpg(sweep.process.pid, signal.SIGINT)
            done = sweep.end()
        elif how == "SIGTERM":
            done = sweep.end(signal.SIGTERM)
        else:
            os.kill(sweep.process.pid, signal.SIGKILL)
        for job in jobs:
            lock_file(job / IN_USE, shared=False, wait=True).close()
    assert all((job / "checkpoints" / "last.ckpt").exists() and not (job / "summary.json").exists() for job in jobs)
    assert not (tmp_path / "sweep/2").exists() or not list((tmp_path / "sweep/2").glob("checkpoints/*"))
    if how != "SIGKILL":
        assert done.code == 128 + {"SIGTERM": signal.SIGTERM, "Ctrl-C": signal.SIGINT}[how]
        said = f"sweep stopped by {how}: the same command with sweep.resume=sweep resumes it"
        assert done.out.count(said) == done.out.count("sweep stopped") == 1 and "Traceback" not in done.out, done.out
