"""Maps in safetensors files, as other programs read them."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from scipy.io import loadmat

from camexp.config import PredictOptions
from camexp.launching.shards import Shard
from camexp.prediction.tensors import TensorMaps
from camexp.prediction.writer import Records
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


def test_killed_while_maps_are_joined(script, ready_to_predict, tmp_path, monkeypatch):
    arguments = (*ready_to_predict, "format=safetensors", "output=out", "resume=auto")
    with monkeypatch.context() as patch:
        patch.setattr(TensorMaps, "writing", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert script("predict.py", *arguments).code != 0
    assert not read(tmp_path / "out")
    done = script("predict.py", *arguments)
    assert done.code == 0 and len(read(tmp_path / "out")) == 39, done.err
    assert "are done already" in script("predict.py", *arguments).out


def portions(folder: Path, paths: list[str]) -> TensorMaps:
    """Maps of 1×1 of images of these names, joined."""
    writer = TensorMaps(folder, Shard(), PredictOptions(ckpt="a.ckpt", input="in", cam={}))
    image = SimpleNamespace(labels=[0], maps=np.ones((1, 1, 1), np.float32))
    records = folder / "records"
    records.write_bytes(b"".join(
        writer.prepare(number, SimpleNamespace(**vars(image), path=path), []) for number, path in enumerate(paths)
    ))  # fmt: skip
    writer.assemble([Records(records)])
    return writer


def test_a_header_stays_below_what_the_library_allows(tmp_path):
    names = [f'{"猫" * 60}/"{number}' for number in range(40)]
    portions(tmp_path, names)
    assert set(read(tmp_path)) == set(names)
    for path in tmp_path.glob("maps-*.safetensors"):
        content = path.read_bytes()
        assert int.from_bytes(content[:8], "little") < 0.55 * 4000 + 1000  # of FILE_BYTES, and of the image beyond it


def test_a_name_that_comes_twice(tmp_path):
    portions(tmp_path, ["a.jpg", "b.jpg", "a.jpg"])
    assert set(read(tmp_path)) == {"a.jpg", "b.jpg", "a.jpg-2"}


def test_files_that_were_removed_are_written_again(script, ready_to_predict, tmp_path):
    arguments = (*ready_to_predict, "format=safetensors", "output=out", "resume=auto")
    assert script("predict.py", *arguments).code == 0
    whole = results(tmp_path / "out")
    sorted((tmp_path / "out").glob("*.safetensors"))[1].unlink()
    done = script("predict.py", *arguments)
    assert done.code == 0 and "are done already" not in done.out, done.err
    assert results(tmp_path / "out") == whole


def test_names_that_are_no_text_stay_apart(tmp_path):
    portions(tmp_path, [os.fsdecode(b"caf\xe9.jpg"), os.fsdecode(b"caf\xe8.jpg")])
    assert set(read(tmp_path)) == {"caf\\xe9.jpg", "caf\\xe8.jpg"}
