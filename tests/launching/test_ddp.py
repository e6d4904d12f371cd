"""Two processes on the CPU do what one does."""

from __future__ import annotations

import atexit
import csv
import json
import signal
import subprocess
import sys

import pytest
import pytorch_lightning as pl
import torch

from tests.conftest import ROOT, TINY, run_process, running

OPTIONS = ("trainer.log_every_n_steps=1", "optimizer.lr=1e-3", "model.head.dropout=0.5", "transform=augment", "seed=3",
           "precision=32-true")  # fmt: skip


class Fall(pl.Callback):
    """One process falls over."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            raise ValueError("one fell over")


class AtTheEnd(pl.Callback):
    """Tells whether a process still belongs to its group when all that was registered after this has been done."""

    def __init__(self):
        atexit.register(lambda: print(f"in a group: {torch.distributed.is_initialized()}", flush=True))


@pytest.fixture
def train(colours, tmp_path):
    def call(*arguments):
        common = (f"dataset.root={colours}", *TINY, *OPTIONS)
        return run_process("train.py", "dataset=imagefolder", *common, *arguments, cwd=tmp_path)

    return call


def columns(path, *names):
    with path.open(newline="") as file:
        return [[float(row[name] or "nan") for name in names] for row in csv.DictReader(file)]


@pytest.mark.slow
def test_the_same_curve_with_one_and_two_processes(train, tmp_path):
    # of 18 images the last batch has 2, one a process
    names = ("step", "train/loss", "train/accuracy", "train/l2", "val/loss", "val/accuracy")
    curves = []
    end = "+callbacks.end._target_=tests.launching.test_ddp.AtTheEnd"
    for name, more in (("one", ()), ("two", ("trainer=ddp_cpu", end))):
        done = train("batch_size=16", f"hydra.run.dir={name}", *more)
        assert done.code == 0, done.err
        curves.append(columns(tmp_path / name / "metrics.csv", *names))
    # both have left their group: Gloo's threads may abort one that has not, after its run has come to its end
    assert done.out.count("in a group: False") == 2 and "in a group: True" not in done.out, done.out
    assert len(curves[0]) == len(curves[1]) >= 4
    for one, two in zip(*curves, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-5, nan_ok=True)


@pytest.mark.slow
def test_an_odd_image_counts_once(train, tmp_path, colours):
    """17 images in batches of 4 leave one, which only one of the processes has."""
    (colours / "red" / "red_7.png").unlink()
    (colours / "red" / "red_6.png").unlink()
    curves = []
    for name, more in (("one", ()), ("two", ("trainer=ddp_cpu",))):
        assert train("batch_size=4", "split.val_fraction=0.25", f"hydra.run.dir={name}", *more).code == 0
        curves.append(columns(tmp_path / name / "metrics.csv", "train/loss", "val/loss", "val/accuracy"))
    assert len(curves[0]) > 9
    for one, two in zip(*curves, strict=True):
        assert one == pytest.approx(two, rel=1e-4, abs=1e-5, nan_ok=True)


@pytest.mark.slow
def test_two_processes_play_the_pointing_game_together(script, tmp_path):
    """Three images whose maps peak on the object twice: two processes would tell of four if they filled their shares."""
    options = ("dataset=shapes", "dataset.classes=3", "dataset.per_class=4", "dataset.size=48", *TINY, "batch_size=4",
               "transform.size=64", "optimizer.lr=1e-4", "trainer.max_epochs=1", "precision=32-true")  # fmt: skip
    assert script("train.py", *options, "hydra.run.dir=one").code == 0
    done = run_process("train.py", *options, "trainer=ddp_cpu", "hydra.run.dir=two", cwd=tmp_path)
    assert done.code == 0, done.err
    one, two = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("one", "two"))
    assert (two["devices"], two["val_images"]) == (2, 3)
    assert one["final"]["val/pointing"] == two["final"]["val/pointing"] == pytest.approx(2 / 3)
    assert "map's peak on object  0.6667" in done.out
    # one value a validation, the same in both
    curves = [columns(tmp_path / name / "metrics.csv", "val/pointing") for name in ("one", "two")]
    assert curves[0][-1] == curves[1][-1] == [pytest.approx(2 / 3, abs=1e-6)]
    assert [len(curve) for curve in curves] == [2, 2]  # a row of the step, one of its validation
    # what the run's page shows is written once: no line of the second process among those of the first
    for name, final in (("one", one["final"]), ("two", two["final"])):
        folder = tmp_path / name
        with (folder / "cams" / "maps.jsonl").open() as file:
            steps = [json.loads(line) for line in file][1:]
        with (folder / "cams" / "steps.csv").open() as file:
            told = [int(row["step"]) for row in csv.DictReader(file)]
        assert [one["step"] for one in steps] == sorted(set(told)) == told and len(told) > 1
        page = (folder / "report.html").read_text()
        assert page.count('id="page">') == 1 and f"best {final['val/accuracy']:.4f}" in page
        assert not [path for path in folder.rglob("*") if "report" in path.name and path.name != "report.html"]


@pytest.mark.slow
def test_one_process_fails_and_one_message_tells(train, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = train("trainer=ddp_cpu", "+callbacks.fall={_target_:tests.launching.test_ddp.Fall}")
    assert done.code == 1
    errors = [line for line in done.err.splitlines() if "error" in line.lower()]
    assert len(errors) == 1 and "one fell over" in errors[0], done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_a_backbone_with_layers_that_are_not_used(colours, tmp_path):
    pytest.importorskip("timm")
    options = [one for one in TINY if not one.startswith(("model", "trainer"))]
    done = run_process(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *options, "model=timm", "model.name=convnext_atto",
        "model.weights=null", "model.freeze=none", "trainer=ddp_cpu", "trainer.max_steps=3", cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err


class PartlyUsed(pl.Callback):
    """A parameter of the user's own that no pass uses."""

    def setup(self, trainer, pl_module, stage):
        pl_module.classifier.unused = torch.nn.Parameter(torch.zeros(1))


@pytest.mark.slow
def test_a_strategy_of_ones_own(train):
    own = "+callbacks.own._target_=tests.launching.test_ddp.PartlyUsed"
    common = ("trainer=ddp_cpu", "trainer.max_steps=4", own)
    done = train(*common)
    assert done.code == 1 and "find_unused_parameters" in done.err, done.err
    assert done.err.count("\n") == 1 and "trainer.strategy=ddp_find_unused_parameters_true" in done.err
    done = train(*common, "trainer.strategy=ddp_find_unused_parameters_true")
    assert done.code == 0, done.err


@pytest.mark.long
def test_two_processes_stop_and_go_on(train, colours, tmp_path):
    arguments = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, *OPTIONS, "trainer=ddp_cpu", "resume=auto")
    assert train("trainer=ddp_cpu", "trainer.max_epochs=60", "hydra.run.dir=whole").code == 0
    with running("train.py", *arguments, "trainer.max_epochs=60", "hydra.run.dir=parts", cwd=tmp_path) as process:
        process.until("step 6: validation")
        done = process.end(signal.SIGTERM)
    assert done.code == 128 + signal.SIGTERM and "saved as parts/checkpoints/last.ckpt" in done.out
    done = train("trainer=ddp_cpu", "trainer.max_epochs=60", "hydra.run.dir=parts", "resume=auto")
    assert done.code == 0 and "resume: from parts/checkpoints/last.ckpt" in done.out, done.err
    whole, parts = (
        columns(tmp_path / name / "metrics.csv", "step", "train/loss", "val/loss") for name in ("whole", "parts")
    )
    assert len(whole) == len(parts)
    for one, other in zip(whole, parts, strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-4, nan_ok=True)


@pytest.mark.long
def test_torchrun_starts_the_processes(colours, tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        str(ROOT / "train.py"),
    ]
    done = subprocess.run(
        [*command, "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer=ddp_cpu", "trainer.max_epochs=1"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    summaries = list(tmp_path.glob("outputs/train/*/*/summary.json"))
    assert len(summaries) == 1  # one folder, though each process composed the configuration
    assert done.stdout.count("validation accuracy  ") == 1
