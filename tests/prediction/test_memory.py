"""An image for which there is too little memory is passed over; it ends no prediction, and no resumed one."""

from __future__ import annotations

import csv

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import paint


@pytest.fixture
def given(tmp_path, monkeypatch):
    """Three images, of whose second the network's pass asks the allocator for more than there is anywhere."""
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["cat", "dog"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    for name, size in (("a", (64, 48)), ("b", (640, 480)), ("c", (64, 48)), ("d", (48, 64))):
        paint(tmp_path / "photos" / f"{name}.png", (90, 90, 90), size)
    real = CAMClassifier.trunk_features

    def hungry(model, images, *more):
        if images.shape[-1] * images.shape[-2] > 10_000:
            torch.empty(2 * 10**14, dtype=torch.uint8)
        return real(model, images, *more)

    monkeypatch.setattr(CAMClassifier, "trunk_features", hungry)
    return "predict.py", "ckpt=a.ckpt", "input=photos", "output=out", "resize=null", "gpus=0", "num_workers=0"


def test_an_image_that_is_too_large_alone_is_skipped(script, given, tmp_path):
    done = script(*given)
    assert done.code == 0, done.err
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [f"photos/{name}.png" for name in "acd"]
    skipped = (tmp_path / "out" / "skipped.csv").read_text()
    assert "photos/b.png,too little memory for a network's input of 640×480 pixels (try resize=1024)" in skipped
    assert "are done already" in script(*given, "resume=auto").out


def test_too_many_at_once_are_told(script, given, tmp_path):
    paint(tmp_path / "photos" / "e.png", (90, 90, 90), (640, 480))
    done = script(*given)
    assert done.code == 1
    assert "batch_size: too little memory for 2 images of 640×480 pixels at once: take batch_size=1" in done.err
    assert script(*given, "batch_size=1", "output=other").code == 0
