"""Runs of train.py on three colours, and what they left."""

import csv

import pytest
import torch
from PIL import Image

import camexp
from tests.conftest import TINY


@pytest.fixture
def train(script, colours, tmp_path):
    def call(*arguments):
        return script(
            "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run", *arguments
        )

    return call


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy_by_hand(folder, name):
    """Of a checkpoint on the images that the run's own list names, one by one."""
    model = camexp.load(folder / "checkpoints" / f"{name}.ckpt", "cpu")
    listed = rows(folder / "splits" / "val.csv")
    right = 0
    for row in listed:
        with Image.open(row["path"]) as image, torch.no_grad():
            right += int(model(model.preprocess(image)[None]).argmax()) == int(row["label"])
    return right / len(listed)
