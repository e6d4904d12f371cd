"""Runs on three colours that resume where they were left."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from PIL import Image, ImageChops

from tests.conftest import TINY


class Trip(pl.Callback):
    """Stumble at a step or soon after it: crash (``crash``: as kill -9 it leaves what was written) or be asked to stop."""

    def __init__(self, step: int, when: str = "on_train_batch_end", signum: int | None = None):
        self.step, self.signum = step, signum
        setattr(self, when, self.stumble)

    def stumble(self, trainer, *_):
        if trainer.global_step >= self.step:
            if self.signum is None:
                raise RuntimeError("stumbled")
            signal.raise_signal(self.signum)


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
    return (
        f"+callbacks.trip={{_target_:tests.training.conftest.Trip,step:{step},when:{when},signum:{signum or 'null'}}}"
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def require_same(one: Path, other: Path) -> None:
    """Two run folders tell of the same run: weights, optimizer, best, final figures, tables, snapshots, strip."""
    first, second = (json.loads((folder / "summary.json").read_text()) for folder in (one, other))
    assert first["final"] == second["final"] and first["best"] == second["best"]
    assert first["final"]["train/loss"] == pytest.approx(
        [float(row["train/loss"]) for row in rows(one / "metrics.csv") if row["train/loss"]][-1], rel=1e-5
    )
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
    assert (one / "cams/maps.jsonl").read_bytes() == (
        other / "cams/maps.jsonl"
    ).read_bytes()  # no step twice, none missing
    assert all((folder / "report.html").is_file() for folder in (one, other))
    names = sorted(path.name for path in (one / "cams").iterdir())
    assert names == sorted(path.name for path in (other / "cams").iterdir())
    for name in names:
        if name.endswith(".png"):
            with Image.open(one / "cams" / name) as a, Image.open(other / "cams" / name) as b:
                assert a.size == b.size and not ImageChops.difference(a.convert("RGB"), b.convert("RGB")).getbbox()
