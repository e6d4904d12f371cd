"""Processes that belong together: one reason for the end of all, signals to each of them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from camexp.errors import UserError
from camexp.launching.processes import ProcessResult, rank_environments, run_processes
from camexp.launching.ranks import CHILD, is_follower, rank, shared_run_folder, started_world_size
from camexp.launching.run_folder import acquire, new_folder, prepare_run_folder, release
from camexp.locks import lock_file
from camexp.run_files import IN_USE
from tests.conftest import ROOT, TINY

WAIT = "import signal; signal.pause()"


def python(*codes: str):
    return run_processes([[sys.executable, "-c", code] for code in codes], [{}] * len(codes))


@pytest.fixture
def fifo(tmp_path):
    """A pipe with a name: who opens it to read waits for who opens it to write."""
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


def test_a_clear_sentence_comes_before_its_consequences(fifo):
    lost = (
        f"import sys; held = open({str(fifo)!r}, 'w');"
        "sys.exit('error: RuntimeError: connection lost (debug=true shows where)')"
    )
    # to the end of the file: until the other one has ended
    clear = f"import sys; open({str(fifo)!r}).read(); sys.exit('error: batch_size=0 is out of range')"
    assert python(lost, clear) == (ended := python(clear, lost))
    assert ended.code == 1 and ended.reason == "batch_size=0 is out of range"


def test_a_killed_process_is_named(monkeypatch):
    monkeypatch.setattr("camexp.launching.processes.GRACE", 0.5)
    ended = python(WAIT, "import os; os.kill(os.getpid(), 9)")
    assert (
        ended.reason == "process 1 of 2 was killed by SIGKILL: out of memory?"
    )  # and the other one was not waited for


def test_signals_are_handed_on(fifo):
    def send() -> None:
        ready = os.open(fifo, os.O_RDWR)  # so it has no end while one of them has closed it, the other not opened it
        for _ in range(2):
            os.read(ready, 1)
        os.close(ready)
        os.kill(os.getpid(), signal.SIGTERM)

    sending = threading.Thread(target=send)
    sending.start()
    waiting = f"with open({str(fifo)!r}, 'w') as ready: ready.write('x')\n{WAIT}"
    assert python(waiting, waiting).code == 128 + signal.SIGTERM
    sending.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_reaches_a_process_that_is_just_being_started(monkeypatch):
    class Interrupted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            if len(started) == 1:
                os.kill(os.getpid(), signal.SIGTERM)
            started.append(self)

    started: list[Interrupted] = []
    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    assert python(WAIT, WAIT).code == 128 + signal.SIGTERM
    assert [one.returncode for one in started] == [-signal.SIGTERM] * 2


def test_processes_know_their_places(monkeypatch):
    with rank_environments(2) as (first, second):
        assert first["MASTER_PORT"] == second["MASTER_PORT"] and (first["RANK"], second["RANK"]) == ("0", "1")
    for key, value in second.items():
        monkeypatch.setenv(key, value)
    assert (rank(), started_world_size(), is_follower()) == (1, 2, True)


def test_nobody_takes_the_port_before_the_processes_have_met():
    meeting = (
        "import os, torch; from torch.distributed import all_reduce, destroy_process_group, init_process_group;"
        "init_process_group('gloo');"
        "total = torch.tensor(1 + int(os.environ['RANK'])); all_reduce(total); assert total == 3;"
        "destroy_process_group()"
    )
    with rank_environments(2) as environments, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(environments[0]["MASTER_PORT"])))
        assert run_processes([[sys.executable, "-c", meeting]] * 2, environments) == ProcessResult(0)


def test_several_nodes_meet_where_the_user_says(monkeypatch):
    monkeypatch.setenv("NNODES", "2")
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(UserError, match="NNODES=2 needs MASTER_ADDR and MASTER_PORT"), rank_environments(2):
        pass
    monkeypatch.setenv("MASTER_ADDR", "node-0")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with rank_environments(2) as (first, second):
        assert (first["MASTER_ADDR"], second["MASTER_PORT"], first["WORLD_SIZE"]) == ("node-0", "29500", "4")
        assert (first["RANK"], second["RANK"]) == ("2", "3") and "TORCHELASTIC_USE_AGENT_STORE" not in first


def test_processes_that_someone_else_started_agree_on_a_folder(monkeypatch, tmp_path):
    folder = tmp_path / "train" / "2026-01-01" / "12-00-00"
    assert shared_run_folder(folder) is None
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="give hydra.run.dir="):
        shared_run_folder(folder)
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    assert shared_run_folder(folder) == tmp_path / "train" / "slurm-77" and rank() == 1


def test_a_requeued_job_of_one_task_finds_its_folder(monkeypatch, tmp_path):
    def chosen(**slurm):
        with monkeypatch.context() as environment:
            for key, value in {"JOB_ID": "77", "NTASKS": "1", "PROCID": "0", **slurm}.items():
                environment.setenv(f"SLURM_{key}", value)
            path = shared_run_folder(tmp_path / "train" / "2026-01-01" / "12-00-00", resumes=True)
        return path and str(path.relative_to(tmp_path / "train"))

    monkeypatch.delenv(CHILD, raising=False)
    assert chosen() == chosen(STEP_ID="0") == chosen(STEP_ID="4294967291") == "slurm-77"
    assert chosen(STEP_ID="1") == "slurm-77.1"
    arrays = [chosen(ARRAY_JOB_ID="76", ARRAY_TASK_ID=task) for task in "01"]
    assert arrays == ["slurm-76_0", "slurm-76_1"]
    assert chosen(JOB_NAME="interactive") is None
    assert shared_run_folder(tmp_path, resumes=True) is None  # no SLURM


def test_only_a_run_that_resumes_takes_the_folder_of_the_job(tmp_path, monkeypatch):
    def prepare(*overrides):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", list(overrides), return_hydra_config=True)
        prepare_run_folder(config, "hydra.run.dir")
        release(Path(config.hydra.run.dir))
        return config.hydra.run.dir

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CHILD, raising=False)
    for key, value in {"JOB_ID": "77", "NTASKS": "1", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    assert prepare("resume=auto") == prepare("resume=auto") == "outputs/train/slurm-77"
    assert prepare("resume=auto", "hydra.run.dir=own") == "own" and "slurm" not in prepare()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_does_not_keep_the_folder(tmp_path):
    acquire(tmp_path, "output")
    ready, began = os.pipe()
    child = os.fork()
    if not child:  # as a process that reads images does, it lives a little longer
        os.write(began, b"x")
        signal.pause()
    os.read(ready, 1)
    release(tmp_path)
    with lock_file(tmp_path / IN_USE, shared=False):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(ready)
    os.close(began)


def test_a_folder_has_one_owner(tmp_path):
    folder = new_folder(tmp_path / "a")
    assert new_folder(tmp_path / "a").name == "a-2"
    acquire(folder, "output")
    acquire(folder, "output")  # again by its owner
    with pytest.raises(BlockingIOError):
        lock_file(folder / IN_USE, shared=False)
    release(folder)
    with (
        lock_file(folder / IN_USE, shared=False),
        pytest.raises(UserError, match=r"output=.*a is in use by another run"),
    ):
        acquire(folder, "output")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written to"):
        acquire(tmp_path / "file" / "below", "output")


def test_a_folder_named_in_a_configuration_file_is_kept_to(script, tmp_path):
    preset = tmp_path / "conf/experiment/mine.yaml"
    preset.parent.mkdir(parents=True)
    preset.write_text("# @package _global_\nhydra: {run: {dir: runs/mine}, sweep: {dir: runs/sweep}}\n")
    for name in ("mine/checkpoints", "sweep/0/.hydra"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    held = script("train.py", *TINY, "experiment=mine")
    assert held.code == 1 and "hydra.run.dir=runs/mine holds a run already" in held.err, held.err
    swept = script("train.py", "-m", *TINY, "experiment=mine", "seed=0,1")
    assert swept.code == 1 and "hydra.sweep.dir=runs/sweep holds a sweep already" in swept.err, swept.err
    begun = script("train.py", *TINY, "experiment=mine", "resume=auto", "dataset=imagefolder", "dataset.root=nowhere")
    assert begun.code == 1 and "runs/mine holds no intact checkpoint: the run restarts" in begun.out
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["mine", "sweep"]

    preset.write_text("# @package _global_\nhydra: {run: {dir: 'again/${now:%Y}'}}\n")
    for _ in range(2):
        script("train.py", *TINY, "experiment=mine", "dataset=imagefolder", "dataset.root=nowhere")
    assert len(list((tmp_path / "again").iterdir())) == 2


def test_a_later_node_takes_the_folder_of_the_first(tmp_path, monkeypatch):
    def prepare(*overrides):
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            prepare_run_folder(compose("train", list(overrides), return_hydra_config=True), "hydra.run.dir")

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(CHILD, raising=False)
    monkeypatch.setenv("NNODES", "2")
    with pytest.raises(UserError, match=r"NNODES=2: all nodes need one folder: give the same hydra\.run\.dir="):
        prepare()
    (tmp_path / "run").mkdir()
    with lock_file(tmp_path / "run" / IN_USE, shared=False):  # by the first node
        with pytest.raises(UserError, match="in use by another run"):
            prepare("hydra.run.dir=run")
        monkeypatch.setenv("NODE_RANK", "1")
        prepare("hydra.run.dir=run")
