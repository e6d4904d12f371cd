"""Sweeps that lose nothing, whatever happens to a job or to the sweep."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal

import pytest
import torch
from PIL import Image

from camexp.cli.compare import main
from camexp.locks import lock_file
from camexp.reporting.comparison import Job, differing_options, find_jobs
from camexp.run_files import IN_USE
from tests.conftest import ROOT, TINY, run_process, running


@pytest.fixture
def options(colours):
    return ("-m", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "optimizer.lr=1e-2", "logger=csv")


def weights(folder):
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_failed_job_ends_no_other_and_a_sweep_goes_on(options, tmp_path):
    swept = (*options, "trainer.max_epochs=30", "model.head.channels=-3,8,9")
    options_of_folder = ("hydra.sweep.dir=sweep", "hydra.sweeper.max_batch_size=1")
    with running("train.py", *swept, *options_of_folder, cwd=tmp_path) as process:
        process.until("run folder sweep/2")  # job 0 has failed, job 1 is done
        process.until("validation accuracy")
        process.end(signal.SIGKILL)  # with its job in the middle of it: that one saves, and ends
    lock_file(tmp_path / "sweep/2" / IN_USE, shared=False, wait=True).close()
    assert (tmp_path / "sweep/2/checkpoints/last.ckpt").exists()

    again = run_process("train.py", *swept, "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert again.code == 1 and "holds a sweep already" in again.err and again.err.count("\n") == 1
    done = run_process("train.py", *swept, "sweep.resume=sweep", cwd=tmp_path)
    assert done.code == 1
    assert "job 1 is finished already" in done.out and "resume: from sweep/2/checkpoints/" in done.out
    assert (
        "1 of 3 jobs failed: 0 (model.head.channels=-3 is out of range: expected a whole number from 1 to 65536)."
        in done.err
    )
    assert "Traceback" not in done.out + done.err
    whole = run_process(
        "train.py", *options[1:], "model.head.channels=9", "trainer.max_epochs=30", "hydra.run.dir=whole", cwd=tmp_path
    )
    assert whole.code == 0
    ours, alone = weights(tmp_path / "sweep/2"), weights(tmp_path / "whole")
    assert all(torch.equal(ours[key], alone[key]) for key in ours)

    with (tmp_path / "sweep/compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["finished", "finished", "failed"]
    assert {(row["job"], row["model.head.channels"]) for row in rows} == {("0", "-3"), ("1", "8"), ("2", "9")}
    with Image.open(tmp_path / "sweep/compare.png") as sheet:
        assert sheet.width > 400


@pytest.mark.slow
def test_jobs_find_what_the_sweep_found(options, tmp_path):
    (tmp_path / "own/scheduler").mkdir(parents=True)
    shutil.copy(ROOT / "conf/scheduler/cosine.yaml", tmp_path / "own/scheduler/mine.yaml")
    found = f"hydra.searchpath=[file://{tmp_path}/own]"
    done = run_process(
        "train.py", *options, found, "scheduler=mine", "trainer.max_epochs=1", "hydra.sweep.dir=sweep", cwd=tmp_path
    )
    assert done.code == 0, done.out + done.err
    assert (tmp_path / "sweep/0/summary.json").exists()


def hparams(sweep, name):
    """What TensorBoard's HParams tab has of an option, job by job."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    found = []
    for folder in sorted({path.parent for path in sweep.rglob("events.out*")}):
        events = EventAccumulator(str(folder))
        events.Reload()
        content = events.summary_metadata.get("_hparams_/session_start_info")
        if content:
            data = plugin_data_pb2.HParamsPluginData.FromString(content.plugin_data.content)
            found.append(data.session_start_info.hparams[name].number_value)
    return found


@pytest.mark.slow
def test_ddp_inside_a_multirun(options, tmp_path):
    swept = [one for one in options if one != "logger=csv"]
    done = run_process("train.py", *swept, "trainer=ddp_cpu", "seed=0,1", "hydra.sweep.dir=sweep", cwd=tmp_path)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "sweep").glob("*/summary.json")) == ["summary.json"] * 2
    assert not (tmp_path / "outputs" / "train").exists()
    for job in "01":
        assert json.loads((tmp_path / "sweep" / job / "summary.json").read_text())["steps"] == 6
        assert len(list((tmp_path / "sweep" / job / "checkpoints").glob("*.ckpt"))) == 2
    assert hparams(tmp_path / "sweep", "seed") == [0, 1]


@pytest.mark.long
def test_optuna_goes_on_and_prunes(options, tmp_path):
    pytest.importorskip("optuna")
    search = (*options, "trainer.max_epochs=40", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2",
              "optimizer.lr=tag(log,interval(1e-4,1e-1))", "hydra.sweeper.pruner.n_startup_trials=1")  # fmt: skip
    with running("train.py", *search, "hydra.sweep.dir=search", cwd=tmp_path) as process:
        process.until("run folder search/1")
        process.until("step 30: validation")
        done = process.end(signal.SIGINT)
    assert done.code == 130 and "sweep.resume=search resumes" in done.out
    done = run_process("train.py", *search, "sweep.resume=search", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "1 of 2 trials are done" in done.out and "resume: from search/1/checkpoints/last.ckpt" in done.out
    jobs = find_jobs(tmp_path / "search")
    assert len(jobs) == 2 and all(job.best is not None for job in jobs)
    assert len({job.options["optimizer.lr"] for job in jobs}) == 2
    assert {job.state for job in jobs} <= {"finished", "pruned"}
    again = run_process("train.py", *search, "sweep.resume=search", cwd=tmp_path)
    assert again.code == 0 and "2 of 2 trials are done" in again.out and "#" not in again.out


@pytest.mark.slow
def test_pruning_asks_the_study(tmp_path, monkeypatch):
    optuna = pytest.importorskip("optuna")
    from camexp.launching.optuna_study import TRIAL, current_trial, open_study

    study = open_study(tmp_path, pruner=None)
    for accuracy in (0.8, 0.9):
        trial = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
        trial.report(accuracy, 10)
        study.tell(trial, accuracy)
    trial = study.ask({"lr": optuna.distributions.FloatDistribution(0, 1)})
    pruner = {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1}
    monkeypatch.setenv(TRIAL, json.dumps([str(tmp_path / "study.log"), trial.number, pruner]))
    own = current_trial()
    own.report(0.1, 10)
    assert own.should_prune()
    assert study.trials[trial.number].intermediate_values == {10: 0.1}


@pytest.mark.slow
@pytest.mark.parametrize("launch", ["cores", pytest.param("local", marks=pytest.mark.long), "ray"])
def test_launchers(options, tmp_path, launch):
    pytest.importorskip({"cores": "joblib", "local": "submitit", "ray": "ray"}[launch])
    pytest.importorskip(
        f"hydra_plugins.hydra_{ {'cores': 'joblib', 'local': 'submitit', 'ray': 'ray'}[launch] }_launcher"
    )
    done = run_process(
        "train.py",
        *options,
        f"launch={launch}",
        "seed=0,1",
        "trainer.max_epochs=1",
        "hydra.sweep.dir=sweep",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err
    assert [job.state for job in find_jobs(tmp_path / "sweep")] == ["finished"] * 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-m", "seed=1,2", "sweep.resume=nowhere"), "sweep.resume=nowhere is not a folder"),
        (("sweep.resume=.",), "needs -m"),
        (("-m", "seed=1,2", "sweep.resume=."), "sweep.resume=. holds no jobs"),
        (("-m", "hydra/sweeper=optuna", "seed=1"), "no option is given a space to search"),
        (("-m", "seed=1,2", "launch=moon"), "launch=moon is not a choice"),
        (
            ("-m", "hydra/sweeper=optuna", "optimizer.lr=tag(log,interval(0.0,0.1))"),
            "optimizer.lr=tag(log,interval(0.0,0.1)) is no space to search",
        ),
        (
            ("-m", "hydra/sweeper=optuna", "seed=range(0,3)", "hydra.sweeper.direction=max"),
            "hydra.sweeper.direction=max is not known: expected maximize or minimize",
        ),
        (
            ("-m", "hydra/sweeper=optuna", "seed=range(0,3)", "hydra.sweeper.n_trials=few"),
            "hydra.sweeper.n_trials=few is out of range: expected a whole number from 1",
        ),
    ],
)
def test_bad_sweeps_are_one_sentence(script, arguments, said):
    done = script("train.py", *arguments)
    assert done.code == 1 and said in done.err and done.err.count("\n") == 1, done.err


def test_compare_by_itself(tmp_path, capsys):
    assert differing_options([Job(tmp_path / "0", "0", {"a": 1, "b": 2}), Job(tmp_path / "1", "1", {"a": 1})]) == []
    assert main([str(tmp_path)]) == 1 and "holds no runs" in capsys.readouterr().err
    assert main([]) == 1 and main(["--help"]) == 0
    (tmp_path / "7" / ".hydra").mkdir(parents=True)
    (tmp_path / "7" / "failure.txt").write_text("too bad\n")
    capsys.readouterr()
    assert main([str(tmp_path)]) == 0
    assert "failed" in capsys.readouterr().out and os.path.exists(tmp_path / "compare.csv")
