"""Where the jobs of a sweep lie, and whose folder is whose."""

from __future__ import annotations

import csv

import pytest

from camexp.errors import UserError
from camexp.launching.sweep import report
from camexp.reporting.comparison import find_jobs
from tests.conftest import TINY, run_process


@pytest.fixture
def sweep(colours, tmp_path):
    def call(*arguments: str):
        common = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_steps=1", "logger=csv")
        return run_process("train.py", "-m", *common, *arguments, cwd=tmp_path)

    return call


def compared(folder):
    with (folder / "compare.csv").open(newline="") as file:
        return {row["job"]: row for row in csv.DictReader(file)}


@pytest.mark.slow
def test_jobs_are_found_however_deep_they_lie(sweep, tmp_path):
    swept = ("optimizer.lr=1e-2", "model.head.channels=8,-3",
             "hydra.sweep.subdir=lr_${optimizer.lr}/ch_${model.head.channels}")  # fmt: skip
    done = sweep(*swept, "hydra.sweep.dir=sweep")
    assert done.code == 1 and "1 of 2 jobs failed: lr_0.01/ch_-3 (model.head.channels=-3" in done.err, done.err
    assert "sweep.resume=sweep runs them again" in done.err
    states = {job: row["state"] for job, row in compared(tmp_path / "sweep").items()}
    assert states == {"lr_0.01/ch_8": "finished", "lr_0.01/ch_-3": "failed"}
    again = sweep(*swept, "hydra.sweep.dir=sweep")
    assert again.code == 1 and "holds a sweep already (jobs lr_0.01/ch_-3, lr_0.01/ch_8)" in again.err
    resumed = sweep(*swept, "sweep.resume=sweep")
    assert resumed.code == 1 and "job 0 is finished already" in resumed.out, resumed.err


def test_a_folder_outside_the_sweep_is_refused(script):
    done = script("train.py", "-m", *TINY, "hydra.sweep.dir=sweep", "hydra.sweep.subdir=../${seed}", "seed=0,1")
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert "hydra.sweep.subdir=../0 of job 0 leads out of hydra.sweep.dir=sweep" in done.err


def test_what_lies_in_a_run_is_no_job(tmp_path):
    for folder in ("sweep/a/0", "sweep/a/0/maps", "sweep", "elsewhere/run"):
        (tmp_path / folder / ".hydra").mkdir(parents=True)
    (tmp_path / "sweep/linked").symlink_to(tmp_path / "elsewhere/run")
    assert [job.name for job in find_jobs(tmp_path / "sweep")] == ["a/0", "linked"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no jobs at the sweep's end"):
        report(tmp_path / "empty")


@pytest.mark.slow
def test_a_job_resumes_its_own_training_only(sweep, tmp_path):
    first = sweep("trainer.check_every_n_steps=1,2", "hydra.sweep.dir=sweep")
    assert first.code == 0, first.err
    kept = (tmp_path / "sweep/0/summary.json").read_bytes()
    shifted = sweep("trainer.check_every_n_steps=3,1,2", "sweep.resume=sweep")
    assert shifted.code == 1 and shifted.err.count("\n") == 1, shifted.err
    assert "sweep/0 was trained with trainer.check_every_n_steps=1, and would become job 0's" in shifted.err
    fixed = sweep("trainer.check_every_n_steps=2", "seed=0,1", "sweep.resume=sweep")
    assert fixed.code == 1, fixed.out
    assert "sweep/0 was trained with the default of seed, trainer.check_every_n_steps=1, and" in fixed.err
    assert (tmp_path / "sweep/0/summary.json").read_bytes() == kept and not (tmp_path / "sweep/2").exists()
    longer = sweep("trainer.check_every_n_steps=1,2,3", "trainer.log_every_n_steps=1", "sweep.resume=sweep")
    assert longer.code == 0 and {row["state"] for row in compared(tmp_path / "sweep").values()} == {"finished"}


def test_two_jobs_share_no_folder(script):
    subdir = "hydra.sweep.subdir=lr_${optimizer.lr}"
    done = script("train.py", "-m", *TINY, "hydra.sweep.dir=sweep", subdir, "optimizer.lr=0.1", "precision=32,16")
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert "jobs 0 and 1 one folder, sweep/lr_0.1: name each option in it that the sweep varies (precision)" in done.err
