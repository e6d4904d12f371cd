"""Parquet files read where they lie, row group by row group."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from camexp import UserError
from camexp.data import find_huggingface, huggingface_columns, parquet_rows
from camexp.images import UnreadableImage
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


def test_a_kept_row_group_that_a_power_cut_left_short_is_fetched_again(options):
    images = find_huggingface(**options, streaming=True)
    expected = images.digest(0)
    (kept,) = Path(options["root"], "row-groups").glob("*.arrow")
    for left in (0, 8, kept.stat().st_size // 2):
        kept.write_bytes(kept.read_bytes()[:left])
        assert images.digest(0) == expected


def test_what_a_killed_fetch_left_is_written_over(options, monkeypatch):
    images = find_huggingface(**options, streaming=True)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                images.read(0)
    assert [path.suffix for path in groups(options["root"]) if path.suffix != ".lock"] == [".part"]
    images.read(0)
    assert [path.suffix for path in groups(options["root"]) if path.suffix != ".lock"] == [".arrow"]


def test_a_row_group_in_several_batches(tmp_path):
    """As Arrow divides one of more than 2 GB."""
    schema = pa.schema([("image", pa.binary())])
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_file(out, schema) as writer:
        for some in ([b"a", b"b"], [], [b"c"]):
            writer.write_batch(pa.record_batch([some], schema=schema))
    with pa.memory_map(str(tmp_path / "a.arrow")) as mapped:
        assert [parquet_rows._row(pa.ipc.open_file(mapped), row) for row in range(3)] == [b"a", b"b", b"c"]


@pytest.mark.parametrize(
    "columns, says",
    [
        ({"image": ["x.png", "y.png"]}, "dataset.image_column=image holds string: expected images, as bytes"),
        ({"image": [3, 4]}, "holds int64"),
        ({"image": [{"path": "x.png"}, {"path": "y.png"}]}, "holds struct<path: string>"),
    ],
)
def test_columns_without_images(tmp_path, columns, says):
    pq.write_table(pa.table({**columns, "label": [0, 1]}), tmp_path / "a.PARQUET")
    with pytest.raises(UserError, match=says):
        find_huggingface(
            path=str(tmp_path / "a.PARQUET"), root=str(tmp_path / "kept"), image_column="image", label_column="label",
            streaming=True,
        )  # fmt: skip


def test_an_image_that_is_only_a_path(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    column = pa.array([{"bytes": None, "path": "x.png"}, {"bytes": None, "path": "y.png"}], kind)
    pq.write_table(pa.table({"image": column, "label": [0, 1]}), tmp_path / "a.parquet")
    images = find_huggingface(
        path=str(tmp_path / "a.parquet"), root=str(tmp_path / "kept"), image_column="image", label_column="label",
        streaming=True,
    )  # fmt: skip
    with pytest.raises(UnreadableImage, match="holds the path x.png: dataset.streaming=false reads that"):
        images.read(0)


def test_labels_of_two_kinds():
    with pytest.raises(UserError, match="dataset.label_column=label holds both numbers and texts"):
        huggingface_columns.read_labels([0, "a"], "label", None)
