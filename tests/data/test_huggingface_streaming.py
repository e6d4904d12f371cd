"""Parquet files read where they lie, row group by row group."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from camexp import UserError
from camexp.data import find_huggingface, parquet_rows
from tests.conftest import TINY
from tests.data import layouts

datasets = pytest.importorskip("datasets")
pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")


def in_small_groups(folder: Path) -> None:
    """The same files, with row groups of three rows."""
    for path in folder.rglob("*.parquet"):
        pq.write_table(pq.read_table(path), path, row_group_size=3)


@pytest.fixture
def options(tmp_path):
    options = layouts.huggingface(tmp_path, each=8)
    in_small_groups(tmp_path / "table")
    return options


def groups(root: str) -> list[Path]:
    return sorted(Path(root, "row-groups").glob("*"))


def test_the_same_images_as_without(options):
    expected = find_huggingface(**options)
    images = find_huggingface(**options, streaming=True)
    assert images.paths == expected.paths and images.labels == expected.labels and images.part == expected.part
    assert images.classes == expected.classes and not groups(options["root"])  # nothing was read yet
    order = np.random.default_rng(0).permutation(len(images))
    again = pickle.loads(pickle.dumps(images))  # as a worker gets it
    for index in order:
        assert again.digest(index) == expected.digest(index)
        assert again.read(index).tobytes() == expected.read(index).tobytes()
    assert len(groups(options["root"])) == 3 * -(-16 // 3)
    assert len(set(images.keys())) == 48


def test_a_row_group_is_fetched_once_for_all(options, monkeypatch):
    images = find_huggingface(**options, streaming=True)
    real, calls = parquet_rows.ParquetImages._fetch, []
    monkeypatch.setattr(parquet_rows.ParquetImages, "_fetch", lambda *all_: (calls.append(all_[2]), real(*all_)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(images.read, [*range(48)] * 2))
    find_huggingface(**options, streaming=True).read(7)
    assert len(calls) == 18


def test_the_oldest_make_room(options):
    expected = find_huggingface(**options)
    find_huggingface(**options, streaming=True).read(0)
    (one,) = groups(options["root"])
    room = 3.5 * one.stat().st_size
    small = find_huggingface(**options, streaming=True, max_gb=room / 1e9)
    for index in np.random.default_rng(1).permutation(48):
        assert small.digest(index) == expected.digest(index)
        assert sum(path.stat().st_size for path in groups(options["root"])) <= room


def test_files_elsewhere(options, monkeypatch, tmp_path):
    """An address of the hub is one of fsspec's; here its file system in memory stands for it."""
    import fsspec

    expected = find_huggingface(**options)
    memory = fsspec.filesystem("memory")
    found = {}
    for split in ("train", "validation", "test"):
        name = f"data/{split}-00000-of-00001.parquet"
        memory.pipe(f"/hub/{name}", (tmp_path / "table" / name).read_bytes())
        found[split] = [f"memory://hub/{name}"]
    real = datasets.load_dataset_builder

    def builder(path, *arguments, **more):
        assert path == "somebody/pets"
        made = real("parquet", data_files={"train": str(tmp_path / "table/data/train-00000-of-00001.parquet")})
        made.config.data_files = found
        return made

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)
    images = find_huggingface("somebody/pets", options["root"], streaming=True, download=True)
    assert images.part == expected.part and images.labels == expected.labels
    assert images.paths[0] == Path("somebody/pets/train/0_0.png")
    assert [images.digest(index) for index in range(48)] == [expected.digest(index) for index in range(48)]
    memory.rm("/hub", recursive=True)
    assert images.digest(5) == expected.digest(5)  # kept
    for path in groups(options["root"]):
        path.unlink()
    with pytest.raises(UserError, match="memory://hub/data/train.* cannot be read .*resume=auto goes on"):
        images.read(5)


def test_what_cannot_be_streamed(tmp_path, options, caplog):
    for name, tone in zip(("cat", "dog"), layouts.TONES, strict=True):
        layouts.paint(tmp_path / "folder" / name / "0.png", tone)
    with pytest.raises(UserError, match=r"^dataset.streaming=true reads Parquet files, .*0\.png: leave it out"):
        find_huggingface(str(tmp_path / "folder"), options["root"], streaming=True)
    with caplog.at_level("WARNING"):
        find_huggingface(**options, streaming=True, max_gb=1e-6)
    assert "less than the images' 0.0 GB" in caplog.text
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"picture": [layouts.encoded(layouts.TONES[0], 0)] * 4, "kind": [*"abab"]}), plain)
    one = find_huggingface(str(plain), options["root"], image_column="picture", label_column="kind", streaming=True)
    assert one.classes == ("a", "b") and one.paths[3].name == "000003" and one.read(2).size == layouts.SIZE


@pytest.mark.slow
def test_train_evaluate_and_predict(script, tmp_path, options):
    given = ("dataset=huggingface", f"dataset.path={options['path']}", f"dataset.root={options['root']}")
    run = (*TINY, "num_workers=2", "batch_size=4", "transform.size=32")
    assert script("train.py", *given, *run, "hydra.run.dir=whole").code == 0
    done = script("train.py", *given, "dataset.streaming=true", "dataset.check=false", *run, "hydra.run.dir=streamed")
    assert done.code == 0, done.err
    tables = [(tmp_path / folder / "metrics.csv").read_text() for folder in ("whole", "streamed")]
    assert tables[0] == tables[1]  # the same images in the same order
    done = script("evaluate.py", "ckpt=streamed/checkpoints/best.ckpt", *given, "part=test",
                  "dataset.streaming=true", "num_workers=2", "output=out")  # fmt: skip
    assert done.code == 0 and "top-1" in done.out, done.err
    done = script("predict.py", "ckpt=streamed/checkpoints/best.ckpt", *given, "dataset.streaming=true", "part=test",
                  "output=maps", "label=predicted")  # fmt: skip
    assert done.code == 0, done.err
    assert (tmp_path / "maps/predictions.csv").read_text().count("\n") == 1 + 16
