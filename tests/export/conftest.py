"""Small networks as checkpoints, and the command as its user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import ROOT, Finished

CLASSES = ("cat", "ice | cream `x`", "dog/wolf")
CONFIG = {
    "seed": 3,
    "dataset": {"_target_": "camexp.data.find_imagefolder", "root": "/secret/pets"},
    "split": {"all": False, "val_fraction": 0.25, "train_per_class": None},
    "model": {"weights": "/secret/w.safetensors", "trunk": "vgg11_bn", "freeze": "none"},
    "trainer": {"max_epochs": 4, "gpus": 1},
    "run_dir": "/secret/run",
}


def network(trunk: str = "vgg11_bn", classes=CLASSES, **options) -> CAMClassifier:
    """A network whose logits and maps are of some size."""
    torch.manual_seed(0)
    options = {"width": 1.0 if "/" in trunk else 1 / 16, "head": {"channels": 8, "init_std": 0.3}, **options}
    model = CAMClassifier(trunk, classes, Preprocessing((64, 96)), **options).eval()
    for module in model.modules():  # as if it had been trained
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def write_checkpoint(path: Path, model: CAMClassifier, config=CONFIG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, config), "state_dict": state}, path)
    return path


@pytest.fixture
def ckpt(tmp_path):
    return write_checkpoint(tmp_path / "run" / "checkpoints" / "best.ckpt", network())


@pytest.fixture
def command(tmp_path):
    """The command in a process of its own."""

    def call(*arguments: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "camexp", "export", *arguments],
            cwd=tmp_path, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


def export(ckpt, output, to, **options):
    """The command's recipe, in this process."""
    from camexp import export as package
    from camexp.config import ExportOptions

    read = ExportOptions.read({"ckpt": str(ckpt), "output": str(output), "to": to, **options})
    return package.write(package.load_model(read), read)
