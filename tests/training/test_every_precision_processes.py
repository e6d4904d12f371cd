"""Two processes, and a run that was killed, at every number format."""

from __future__ import annotations

import csv
import math
import os
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file

from camexp.models.trunks import build_trunk
from tests.conftest import ROOT, TINY, run_process
from tests.training.conftest import require_same
from tests.training.precisions import EVERY, reference, tolerance

STEPS = 12
# What starts processes is tried with all formats by ``-m long``, and always with the two that precision=auto chooses.
PRECISIONS = [one if one in ("32-true", "bf16-mixed") else pytest.param(one, marks=pytest.mark.long) for one in EVERY]


@pytest.fixture
def options(colours: Path, tmp_path: Path) -> list[str]:
    """Of a small network with a frozen trunk, whose features are kept in part: mirrored views are not."""
    torch.manual_seed(0)
    weights = tmp_path / "w.safetensors"
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), weights)
    given = [one for one in TINY if not one.startswith(("model.weights", "model.freeze", "model.head.init_std"))]
    return [
        *given, f"model.weights={weights}", "model.freeze=trunk", "model.head.init_std=0.5", "dataset=imagefolder",
        f"dataset.root={colours}", "transform=flip", "logger=csv", "trainer.log_every_n_steps=1", "optimizer.lr=1e-2",
        "trainer.max_epochs=null", f"trainer.max_steps={STEPS}", "checkpoint.every_n_steps=2",
    ]  # fmt: skip


def losses(folder: str) -> list[tuple[float, float]]:
    """Of training and of validation, row by row."""
    with Path(folder, "metrics.csv").open(newline="") as file:
        return [
            (float(row["train/loss"] or "nan"), float(row["val/loss"] or "nan")) for row in csv.DictReader(file)
        ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_processes(script, options, tmp_path, precision):
    """They tell of the losses that one process tells of, and float64 (float32, where they are float64's own)."""
    # without momentum, which would carry the last step's rounding into all that follow
    common = (*options, "optimizer=sgd", "optimizer.momentum=0", "optimizer.nesterov=false", "model.head.dropout=0",
              "inspect.every_n_steps=0")  # fmt: skip
    done = run_process("train.py", *common, "trainer=ddp_cpu", f"precision={precision}", "hydra.run.dir=two",
                       "features.cache=two-features", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    for folder, format in (("one", precision), ("exact", reference(precision))):
        done = script("train.py", *common, f"precision={format}", f"hydra.run.dir={folder}",
                      f"features.cache={folder}-features")  # fmt: skip
        assert done.code == 0, done.err
    two, one, exact = (losses(folder) for folder in ("two", "one", "exact"))
    assert len(two) == len(one) == len(exact) > STEPS
    allowed = tolerance(precision)
    trained = [loss for loss, _ in exact if not math.isnan(loss)]
    assert max(trained) - min(trained) > 2 * allowed, "another batch's loss would not be told apart"
    for other in (one, exact):
        for row, expected in zip(two, other, strict=True):
            assert row == pytest.approx(expected, abs=allowed, nan_ok=True)


class Kill(pl.Callback):
    """``kill -9`` at step 5: of all training processes, and first of the one that watches them, if there is one."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 5:
            if trainer.world_size > 1 and trainer.global_rank == 0:
                os.kill(os.getppid(), signal.SIGKILL)
            signal.raise_signal(signal.SIGKILL)


# checkpoints at even steps, so that the fifth is lost; a snapshot of the watched image in either part
KILLED = ("trainer.check_every_n_steps=3", "inspect.every_n_steps=4", "model.head.dropout=0.5")


def kill(options: list[str], cwd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    callback = "+callbacks.kill._target_=tests.training.test_every_precision_processes.Kill"
    done = run_process("train.py", *options, callback, "hydra.run.dir=parts", "features.cache=parts-features", cwd=cwd)
    assert done.code == -signal.SIGKILL, done.err


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_killed_and_resumed(script, options, tmp_path, monkeypatch, precision):
    """Bit for bit the run that was not disturbed."""
    common = [*options, *KILLED, f"precision={precision}"]
    kill(common, tmp_path, monkeypatch)
    for folder in ("parts", "whole"):
        done = script(
            "train.py", *common, f"features.cache={folder}-features", f"hydra.run.dir={folder}", "resume=auto"
        )
        assert done.code == 0, done.err
        assert (", after step 4\n" in done.out) == (folder == "parts"), done.out
    require_same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.long
@pytest.mark.parametrize("precision", EVERY)
def test_two_processes_killed_and_resumed(options, tmp_path, monkeypatch, precision):
    """As above, where the weights are what two processes agreed on."""
    common = [*options, *KILLED, f"precision={precision}", "trainer=ddp_cpu"]
    kill(common, tmp_path, monkeypatch)
    for folder in ("parts", "whole"):
        done = run_process("train.py", *common, f"features.cache={folder}-features", f"hydra.run.dir={folder}",
                           "resume=auto", cwd=tmp_path)  # fmt: skip
        assert done.code == 0, done.err
        assert (", after step 4\n" in done.out) == (folder == "parts"), done.out
    require_same(tmp_path / "whole", tmp_path / "parts")
