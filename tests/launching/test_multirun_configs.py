"""Sweeps that a configuration file asks for: each process that they start is one run."""

from __future__ import annotations

import pytest

from camexp.launching import launch_ddp, launch_shards
from camexp.launching.processes import ProcessResult
from camexp.launching.ranks import CHILD
from tests.conftest import TINY

MODULES = ("sweep", "ddp", "shards")


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Those of the processes that would be started, beside a preset that asks for a sweep."""
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/grid.yaml").write_text("# @package _global_\nhydra:\n  mode: MULTIRUN\n")
    asked: list[list[str]] = []

    def started(commands, environments, **_):
        asked.extend(commands)
        return ProcessResult(0)

    for module in MODULES:
        monkeypatch.setattr(f"camexp.launching.{module}.run_processes", started)
    return asked


def test_a_job_starts_no_sweep_of_its_own(script, commands, monkeypatch):
    done = script("train.py", *TINY, "experiment=grid", "seed=0,1", "hydra.sweep.dir=sweep")
    assert done.code == 0, done.err
    assert len(commands) == 2 and all("hydra.mode=RUN" in one for one in commands)

    monkeypatch.setenv(CHILD, "job")  # whatever else may bring it there
    done = script("train.py", *TINY, "experiment=grid", "seed=0,1", "hydra.sweep.dir=other")
    assert done.code == 1 and "hydra.mode=MULTIRUN in a process that camexp started as one job" in done.err
    assert done.err.count("\n") == 1 and len(commands) == 2


def test_neither_does_a_process_of_a_run_or_a_shard(commands, script, tmp_path):
    launch_ddp(str(tmp_path / "run"), 2)
    launch_shards(str(tmp_path / "out"), 2, gpus=[])
    script("predict.py", "-m", "ckpt=best.ckpt", "input=images", "shards=2", "output=out")
    assert len(commands) == 6 and all("hydra.mode=RUN" in one for one in commands)
