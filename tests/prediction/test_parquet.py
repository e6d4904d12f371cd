"""Maps in Parquet files, as other programs read them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from scipy.io import loadmat

from camexp.files import content_digest
from camexp.prediction.map_files import as_float16
from tests.prediction.conftest import results


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr("camexp.prediction.map_files.FILE_BYTES", 4000)


def test_a_row_an_image_and_class(script, ready_to_predict, tmp_path, small_files):
    assert script("predict.py", *ready_to_predict, "output=files").code == 0
    done = script("predict.py", *ready_to_predict, "output=out", "format=parquet")
    assert done.code == 0, done.err
    out = tmp_path / "out"
    files = sorted(out.glob("*.parquet"))
    assert [path.name for path in files] == [f"maps-{number:05d}.parquet" for number in range(len(files))]
    assert len(files) > 1 and not (out / "maps").exists() and not (out / "overlays").exists()
    assert not list(out.glob(".maps*")) and (out / "report.html").exists()
    tables = [pyarrow.parquet.read_table(path) for path in files]
    assert b"Raw maps of cam" in tables[0].schema.metadata[b"camexp"]
    rows = [row for table in tables for row in table.to_pylist()]
    with (tmp_path / "files" / "predictions.csv").open(newline="") as file:
        expected = list(csv.DictReader(file))
    assert len(rows) == len(expected) == 2 * 39
    for row, one in zip(rows, expected, strict=True):
        assert [str(row[key] if row[key] is not None else "") for key in ("path", "class", "label", "x0", "y1")] == [
            one[key] for key in ("path", "class", "label", "x0", "y1")
        ]
        assert row["digest"] == content_digest(row["path"])
        assert float(one["probability"]) == pytest.approx(row["probability"], abs=1e-6)
        content = loadmat(tmp_path / "files" / "maps" / f"{Path(row['path']).stem}.mat")
        exact = content["maps"][list(content["labels"].ravel()).index(row["label"])]
        found = np.frombuffer(row["map"], row["map_dtype"]).reshape(row["map_height"], row["map_width"])
        np.testing.assert_allclose(found, exact, rtol=2e-3, atol=1e-6)
        assert (row["image_height"], row["image_width"]) == tuple(content["image_size"].ravel())


@pytest.mark.slow
def test_shards_have_their_own_files(script, ready_to_predict, tmp_path, small_files):
    assert script("predict.py", *ready_to_predict, "output=whole", "format=parquet").code == 0
    for number in range(2):
        done = script("predict.py", *ready_to_predict, "output=out", "format=parquet", "shards=2", f"shard={number}")
        assert done.code == 0, done.err
    read = lambda paths: pyarrow.concat_tables([pyarrow.parquet.read_table(path) for path in paths])  # noqa: E731
    names = sorted(path.name for path in (tmp_path / "out").glob("*.parquet"))
    assert names[0] == "maps-00000-of-00002-00000.parquet" and names[-1].startswith("maps-00001-of-00002-")
    assert read(tmp_path / "out" / name for name in names).equals(read(sorted((tmp_path / "whole").glob("*.parquet"))))


def test_an_interrupted_one_resumes(script, ready_to_predict, tmp_path, small_files, power_cut):
    assert script("predict.py", *ready_to_predict, "output=whole", "format=parquet").code == 0
    power_cut()
    assert script("predict.py", *ready_to_predict, "output=out", "format=parquet").code == 1
    assert not list((tmp_path / "out").glob("*.parquet"))
    assert script("predict.py", *ready_to_predict, "output=out", "format=parquet", "resume=auto").code == 0
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_what_float16_cannot_hold_stays_float32():
    odd = np.array([[np.nan, np.inf, 1.0]], np.float32)
    assert as_float16(odd).dtype == np.float16  # they are as odd in half the bytes
    assert as_float16(np.array([[70000.0]], np.float32)).dtype == np.float32
