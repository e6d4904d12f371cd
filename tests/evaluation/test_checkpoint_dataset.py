"""What a checkpoint's own data set may make evaluate.py do: read images, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from camexp.config import DatasetOptions, EvaluateOptions
from camexp.data import build_images
from camexp.errors import UserError
from camexp.evaluation import find_images
from camexp.evaluation.checkpoint_dataset import recorded_dataset

SHAPES = {"_target_": "camexp.data.find_shapes", "per_class": 2, "size": 32, "seed": 0}


def folder(root: Path) -> dict:
    return {"_target_": "camexp.data.find_imagefolder", "root": str(root), "extensions": ["png"]}


def test_images_that_are_there(tmp_path, colours, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(build_images(recorded_dataset(folder(colours)))) == 24
    drawn = {**SHAPES, "root": "drawn", "classes": None, "max_skipped": 0.0, "check": False}
    build_images(DatasetOptions.read(drawn))
    before = sorted(tmp_path.rglob("*"))
    assert len(build_images(recorded_dataset(drawn))) == 16
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("root", ["elsewhere", "outputs/data/shapes", "~/elsewhere", "/nowhere/else", 7, None])
def test_shapes_are_not_drawn_for_a_checkpoint(tmp_path, monkeypatch, root):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError, match="^ckpt: the pictures .* are not at .*dataset=shapes"):
        recorded_dataset({**SHAPES, "root": root})
    with pytest.raises(UserError, match="per_class"):
        recorded_dataset({**SHAPES, "per_class": 10**9})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        {"extensions": [{"_target_": "os.makedirs", "name": "marker"}]},
        {"root": {"_target_": "os.makedirs", "name": "marker"}},
        {"root": "${oc.env:HOME}"},
        {"extensions": ["${oc.env:HOME}"]},
        {"_args_": ["x"]},
        {"_partial_": True},
        {7: 7},
    ],
)
def test_only_plain_values_are_taken(tmp_path, colours, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^ckpt: .* is none of camexp's own"):
        build_images(recorded_dataset({**folder(colours), **options}))
    assert not Path("marker").exists()


@pytest.mark.parametrize("dataset", [None, 7, {}, {"_target_": "os.system"}, {"_target_": ["camexp.data.find_shapes"]}])
def test_other_data_sets_are_refused(dataset):
    with pytest.raises(UserError, match="is none of camexp's own"):
        recorded_dataset(dataset)


def test_nothing_is_downloaded(tmp_path):
    recorded = {
        "_target_": "camexp.data.find_caltech256",
        "root": str(tmp_path),
        "download": True,
        "url": "file:///etc",
    }
    assert not {"download", "url", "md5"} & recorded_dataset(recorded).to_dict().keys()


@pytest.mark.parametrize(
    "split", [{}, {"all": False}, "abc", {"all": False, "val_fraction": 7, "train_per_class": None}]
)
def test_a_split_that_the_checkpoint_does_not_say_is_not_made_up(colours, tmp_path, split):
    torch.save({"camexp": {}, "state_dict": {}}, tmp_path / "a.ckpt")
    options = EvaluateOptions.read({"ckpt": str(tmp_path / "a.ckpt"), "cam": {}, "part": "val"})
    with pytest.raises(UserError, match="^ckpt: its split cannot be read .*: take part=all"):
        find_images(options, None, {"dataset": folder(colours), "split": split, "seed": 0})
