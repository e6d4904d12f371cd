"""Maps in safetensors files, as other programs read them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from scipy.io import loadmat

from tests.prediction.conftest import results


@pytest.fixture(autouse=True)
def small_files(monkeypatch):
    monkeypatch.setattr("camexp.prediction.map_files.FILE_BYTES", 4000)


def read(folder: Path) -> dict:
    """Labels and maps by path, of all files."""
    found = {}
    for path in sorted(folder.glob("maps-*.safetensors")):
        with safe_open(path, "np") as file:
            told = json.loads(file.metadata()["camexp"])
            labels = told["labels"]
            assert "Raw maps of cam" in told["made"] and set(labels) == set(file.keys())
            found |= {name: (labels[name], file.get_tensor(name)) for name in labels}
    return found


def test_a_tensor_an_image(script, ready_to_predict, tmp_path):
    assert script("predict.py", *ready_to_predict, "output=files").code == 0
    done = script("predict.py", *ready_to_predict, "output=out", "format=safetensors")
    assert done.code == 0, done.err
    out = tmp_path / "out"
    assert len(list(out.glob("*.safetensors"))) > 1 and not (out / "maps").exists() and not list(out.glob(".maps*"))
    found = read(out)
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert set(found) == {row["path"] for row in rows} and len(found) == 39
    for path, (labels, maps) in found.items():
        assert labels == [int(row["label"]) for row in rows if row["path"] == path]
        exact = loadmat(tmp_path / "files" / "maps" / f"{Path(path).stem}.mat")
        assert labels == exact["labels"].ravel().tolist() and maps.dtype == np.float16
        np.testing.assert_allclose(maps, exact["maps"], rtol=2e-3, atol=1e-6)


@pytest.mark.slow
def test_resumed_and_in_shards(script, ready_to_predict, tmp_path, power_cut):
    arguments = (*ready_to_predict, "format=safetensors")
    assert script("predict.py", *arguments, "output=whole").code == 0
    power_cut()
    assert script("predict.py", *arguments, "output=cut").code == 1
    assert not list((tmp_path / "cut").glob("*.safetensors"))
    assert script("predict.py", *arguments, "output=cut", "resume=auto").code == 0
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    for number in range(2):
        assert script("predict.py", *arguments, "output=divided", "shards=2", f"shard={number}").code == 0
    whole, divided = read(tmp_path / "whole"), read(tmp_path / "divided")
    assert whole.keys() == divided.keys()
    for path, (labels, maps) in whole.items():
        assert divided[path][0] == labels
        np.testing.assert_array_equal(divided[path][1], maps)
