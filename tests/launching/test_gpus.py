"""The GPUs of a machine among jobs side by side; none is needed for it."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from contextlib import ExitStack

import pytest
from omegaconf import OmegaConf

from camexp.errors import Interrupted
from camexp.launching import gpus
from camexp.launching.gpus import reserve_gpu
from camexp.launching.processes import SIGNALS
from camexp.launching.sweep import _job_resources
from tests.conftest import TINY, running


@pytest.fixture(autouse=True)
def _locks_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "locks").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "locks"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "locks"))


def hydra(launch, job):
    return OmegaConf.create(
        {
            "launcher": {"_target_": "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher", "n_jobs": 8},
            "runtime": {"choices": {"launch": launch}},
            "job": {"num": job},
        }
    )


def test_surplus_jobs_spread():
    with ExitStack() as jobs:
        assert [jobs.enter_context(reserve_gpu("012")) for _ in range(4)] == ["0", "1", "2", "0"]
        with reserve_gpu("012") as gpu:
            assert gpu == "1"
        assert [jobs.enter_context(reserve_gpu("012")) for _ in range(3)] == ["1", "2", "0"]


def test_with_a_gpu_for_itself_a_job_waits_for_any(monkeypatch, caplog):
    caplog.set_level(logging.INFO, "camexp")
    with ExitStack() as first, ExitStack() as second:
        assert first.enter_context(reserve_gpu("01", alone=True)) == "0"
        assert second.enter_context(reserve_gpu("01", alone=True)) == "1"
        polls = iter([lambda: None, second.close])  # the first poll finds nothing, then a job ends
        monkeypatch.setattr(gpus.time, "sleep", lambda _: next(polls)())
        with reserve_gpu("01", alone=True, job="job 2") as gpu:
            assert gpu == "1"
    assert caplog.messages == ["job 2 waits for a GPU: other jobs have 0, 1"]


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_ends_the_waiting(signum, monkeypatch):
    before = signal.getsignal(signum)
    monkeypatch.setattr(gpus.time, "sleep", lambda _: os.kill(os.getpid(), signum))
    with reserve_gpu("0"), pytest.raises(Interrupted) as stopped, reserve_gpu("0", alone=True):
        pass
    assert stopped.value.signum == signum and signal.getsignal(signum) == before


def test_a_worker_whose_sweep_is_gone_starts_no_job(monkeypatch):
    parents = iter([7, 7, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    monkeypatch.setattr(gpus.time, "sleep", lambda _: None)
    with reserve_gpu("0"), pytest.raises(Interrupted, match="lost its sweep"), reserve_gpu("0", alone=True):
        pass


def test_jobs_share_gpus_but_with_launch_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setattr("camexp.launching.sweep.available_cores", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with ExitStack() as jobs:
        shares = [jobs.enter_context(_job_resources(hydra("cores", job))) for job in range(3)]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "5", "4"]
    assert shares[0]["OMP_NUM_THREADS"] == "2"
    monkeypatch.setattr(gpus.time, "sleep", lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with ExitStack() as jobs:
        shares = [jobs.enter_context(_job_resources(hydra("gpus", job))) for job in range(2)]
        with pytest.raises(Interrupted):
            jobs.enter_context(_job_resources(hydra("gpus", 2)))
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "5"]
    assert shares[0]["OMP_NUM_THREADS"] == "8"  # no more than two run at once


def test_where_no_locks_are_known_jobs_spread_all_the_same(monkeypatch):
    def no_lock(path, shared):
        raise OSError("no locks here")

    monkeypatch.setattr(gpus, "lock_file", no_lock)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    with ExitStack() as jobs:
        shares = [jobs.enter_context(_job_resources(hydra("gpus", job))) for job in range(3)]
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["4", "5", "4"]


@pytest.mark.slow
def test_a_sweep_waits_for_the_gpu_of_another_one(colours, tmp_path, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")  # the jobs train on the CPU all the same
    options = ("-m", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_epochs=1", "logger=csv",
               "launch=gpus", "hydra.launcher.n_jobs=2", "seed=0,1", "hydra.sweep.dir=sweep")  # fmt: skip
    other = ExitStack()
    other.enter_context(reserve_gpu("7"))
    with other, running("train.py", *options, cwd=tmp_path) as sweep:
        sweep.until("job . waits for a GPU: other jobs have 7")
        assert not list(tmp_path.glob("sweep/*/summary.json"))
        other.close()
        assert sweep.end().code == 0
    assert len(list(tmp_path.glob("sweep/*/summary.json"))) == 2
