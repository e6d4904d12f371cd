"""A second prediction or evaluation into the same folder, and of a data set with broken files."""

from __future__ import annotations

import csv

import pyarrow.dataset
import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import COLOURS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def given(tmp_path, colours):
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", sorted(COLOURS), Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    return "ckpt=a.ckpt", "output=out", "gpus=0", "num_workers=0"


def test_nothing_numbered_is_left_of_more_images_or_of_another_format(script, given, colours, tmp_path):
    for more in ("format=parquet", "format=safetensors", "montage.images=6"):
        assert script("predict.py", *given, f"input={colours}", more).code == 0
    assert len(list((tmp_path / "out").glob("montage_*.png"))) == 4
    assert script("predict.py", *given, f"input={colours / 'red'}", "format=parquet").code == 0
    assert pyarrow.dataset.dataset(tmp_path / "out" / "maps-00000.parquet").count_rows() == 8
    left = sorted(path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(("montage_", "maps-")))
    assert left == ["maps-00000.parquet", "montage_0001.png"]


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py"])
def test_broken_files_of_a_data_set_are_named(script, given, colours, tmp_path, command):
    (colours / "red" / "broken.png").write_bytes(b"no image")
    more = ("sheet.images=0", "report=false", "dataset.max_skipped=0.5") if command == "evaluate.py" else ()
    done = script(command, *given, "dataset=imagefolder", f"dataset.root={colours}", *more)
    assert done.code == 0, done.err
    with (tmp_path / "out" / "skipped.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["path"].endswith("red/broken.png") and "cannot identify image file" in row["reason"]
