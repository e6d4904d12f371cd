"""Which images a part of the training run is, whatever has become of the data set; and how many of others it knows."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from camexp.export.figures import read_evaluation
from camexp.models.checkpoint import IMAGES
from tests.conftest import TINY, paint

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(script, colours, tmp_path) -> Path:
    """The checkpoint of a short run, away from its run's folder."""
    done = script(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_epochs=1", "logger=csv",
        "report=false", "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.err
    return Path(shutil.copy(tmp_path / "run" / "checkpoints" / "last.ckpt", tmp_path / "last.ckpt"))


@pytest.fixture
def evaluate(script, trained, colours, tmp_path):
    """``evaluate(part, *more)``: what it said, the names that it measured on, and its metrics."""

    def call(*given: str, ckpt: Path = trained, root: Path = colours):
        done = script(
            "evaluate.py", f"ckpt={ckpt}", "dataset=imagefolder", f"dataset.root={root}", "output=out", "gpus=0",
            "precision=32-true", "num_workers=0", "sheet.images=0", "report=false", *given,
        )  # fmt: skip
        assert done.code == 0, done.err
        with (tmp_path / "out" / "per_image.csv").open(newline="") as file:
            names = {Path(row["path"]).name for row in csv.DictReader(file)}
        return done.out + done.err, names, json.loads((tmp_path / "out" / "metrics.json").read_text())

    return call


def listed(tmp_path: Path, part: str) -> set[str]:
    with (tmp_path / "run" / "splits" / f"{part}.csv").open(newline="") as file:
        return {Path(row["path"]).name for row in csv.DictReader(file)}


@pytest.mark.parametrize("part", ["train", "val"])
def test_fewer_classes_have_the_same_parts(evaluate, tmp_path, part):
    """Each class is shuffled by its number: drawn again among others, it would be split otherwise."""
    told, names, metrics = evaluate(f"part={part}", "dataset.classes=[green,red]")
    assert names == {name for name in listed(tmp_path, part) if not name.startswith("blue")}
    assert "images are not among these" in told
    assert metrics["images_trained_on"] == (len(names) if part == "train" else 0)


def test_images_that_came_and_went_change_no_part(evaluate, colours, tmp_path):
    for number in range(3):
        paint(colours / "red" / f"a_new_{number}.png", (200, 50, 40), seed=90 + number)
    gone = [name for name in sorted(listed(tmp_path, "train")) if name.startswith("red")][:2]
    for name in gone:
        (colours / "red" / name).unlink()
    told, names, metrics = evaluate("part=val")
    assert names == listed(tmp_path, "val") and metrics["images_trained_on"] == 0
    assert "3 images were in no part of the training run" in told


def test_a_data_set_that_moved_is_known_by_its_names(evaluate, colours, tmp_path):
    moved = colours.rename(tmp_path / "elsewhere")
    told, names, metrics = evaluate("part=all", root=moved)
    trained = len(listed(tmp_path, "train"))
    assert len(names) == 24 and metrics["images_trained_on"] == trained
    assert f"trained on {trained} of these 24 images, by their names" in told
    assert evaluate("part=val", root=moved)[1] == listed(tmp_path, "val")


def test_images_of_other_names_are_of_no_part(script, trained, tmp_path):
    paint(tmp_path / "others" / "red" / "1.png", (200, 50, 40))
    paint(tmp_path / "others" / "blue" / "2.png", (40, 60, 200))
    done = script("evaluate.py", f"ckpt={trained}", "dataset=imagefolder", "dataset.root=others", "part=val", "gpus=0")
    assert done.code == 1
    assert "part=val: none of the 2 images in others is called as one of the run's" in done.err


def test_an_earlier_version_s_checkpoint_says_less(evaluate, trained, tmp_path):
    """Its split is drawn again, with a warning; how many were trained on is known beside the run's list alone."""
    content = torch.load(trained, weights_only=True)
    assert content.pop(IMAGES)["val"].shape == (len(listed(tmp_path, "val")),)
    torch.save(content, trained)
    told, names, metrics = evaluate("part=val")
    assert names == listed(tmp_path, "val") and "its split is drawn again" in told
    assert metrics["images_trained_on"] is None
    assert "not known" in read_evaluation(tmp_path / "out", trained).source
    shutil.copy(trained, tmp_path / "run" / "checkpoints" / "old.ckpt")
    _, _, metrics = evaluate("part=all", ckpt=tmp_path / "run" / "checkpoints" / "old.ckpt")
    assert metrics["images_trained_on"] == len(listed(tmp_path, "train"))
