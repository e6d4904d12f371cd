"""An interrupted run that goes on ends as if nothing had been."""

from __future__ import annotations

import csv
import os
import signal
import zipfile
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image, ImageChops

from camexp.training.position import Position
from camexp.training.resume import newest_sound
from tests.conftest import TINY


class Trip(pl.Callback):
    """Stumble at a step: crash (``crash``: as kill -9 it leaves what was written) or be asked to stop."""

    def __init__(self, step: int, when: str = "on_train_batch_end", signum: int | None = None):
        self.step, self.signum = step, signum
        setattr(self, when, self.stumble)

    def stumble(self, trainer, *_):
        if trainer.global_step == self.step:
            if self.signum is None:
                raise RuntimeError("stumbled")
            os.kill(os.getpid(), self.signum)


OPTIONS = (
    "trainer.max_epochs=4", "trainer.check_every_n_steps=2", "trainer.log_every_n_steps=1", "inspect.every_n_steps=2",
    "checkpoint.every_n_steps=2", "checkpoint.keep=null", "optimizer.lr=1e-2", "model.head.dropout=0.3",
    "scheduler=cosine",
)  # fmt: skip  # 4 epochs of 3 steps


@pytest.fixture
def run(script, colours, tmp_path):
    def call(folder: str, *arguments: str):
        common = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, *OPTIONS)
        return script("train.py", *common, f"hydra.run.dir={folder}", "resume=auto", *arguments)

    return call


def trip(step: int, when: str, signum: int | None = None) -> str:
    return f"+callbacks.trip={{_target_:tests.training.test_resume.Trip,step:{step},when:{when},signum:{signum or 'null'}}}"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def require_same(one: Path, other: Path) -> None:
    """Two run folders tell of the same run: weights, optimizer, best, tables, snapshots, strip."""
    for name in ("last", "best"):
        a, b = (torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True) for f in (one, other))
        assert a["global_step"] == b["global_step"]
        for key, value in a["state_dict"].items():
            assert torch.equal(value, b["state_dict"][key]), (name, key)
        for number, state in a["optimizer_states"][0]["state"].items():
            for key, value in state.items():
                assert torch.equal(value, b["optimizer_states"][0]["state"][number][key])
        assert a["lr_schedulers"] == b["lr_schedulers"]
    assert rows(one / "metrics.csv") == rows(other / "metrics.csv")
    assert rows(one / "cams/steps.csv") == rows(other / "cams/steps.csv")
    names = sorted(path.name for path in (one / "cams").iterdir())
    assert names == sorted(path.name for path in (other / "cams").iterdir())
    for name in names:
        if name.endswith(".png"):
            with Image.open(one / "cams" / name) as a, Image.open(other / "cams" / name) as b:
                assert a.size == b.size and not ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("model.freeze=none", "transform=augment"),
        ("model.freeze=none", "transform=augment", "num_workers=2"),
        ("model.freeze=trunk", "transform=flip", "features.cache=FEATURES"),
        ("model.freeze=trunk", "trainer.max_steps=11", "trainer.check_every_n_steps=100"),
    ],
    ids=["plain", "workers", "features", "checks-at-epoch-ends"],
)
def test_any_interruption_leaves_no_trace(run, tmp_path, options):
    def at(name):
        return [option.replace("FEATURES", f"{name}-features") for option in options]

    assert run("whole", *at("whole")).code == 0
    stumbles = [
        (0, "on_train_start", None), (1, "on_train_batch_end", None), (2, "on_validation_batch_end", signal.SIGTERM),
        (3, "on_train_batch_end", signal.SIGUSR1), (3, "on_train_epoch_end", None), (5, "on_train_batch_start", None),
        (6, "on_validation_batch_end", signal.SIGTERM), (6, "on_validation_end", None),
        (7, "on_train_batch_end", signal.SIGINT), (9, "on_train_epoch_start", None),
        (11, "on_validation_batch_end", signal.SIGTERM), (12, "on_validation_end", None), (12, "on_train_end", None),
    ]  # fmt: skip
    for step, when, signum in stumbles:
        done = run("parts", *at("parts"), trip(step, when, signum))
        assert done.code in (0, 1 if signum is None else 128 + signum), done.err
        if done.code > 1:
            assert "saved as" in done.out and "resume=auto" in done.out
    done = run("parts", *at("parts"))
    assert done.code == 0, done.err
    require_same(tmp_path / "whole", tmp_path / "parts")
    assert "finished already" in run("parts", *at("parts")).out


def test_positions():
    assert Position.after(0, 3) == (0, 0, True)
    assert Position.after(3, 3) == (1, 0, True)
    assert Position.after(3, 3, validated=False) == (0, 3, False)
    assert Position.after(4, 3, validated=False) == (1, 1, False)
