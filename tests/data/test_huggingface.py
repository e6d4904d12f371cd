"""Data sets of Hugging Face's library: tables whose rows are images."""

from __future__ import annotations

import pickle
import shutil
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file

from camexp import UserError
from camexp.config import DatasetOptions
from camexp.data import build_images, find_huggingface
from camexp.evaluation.checkpoint_dataset import recorded_dataset
from camexp.features import content_digest
from camexp.models import build_trunk
from tests.conftest import TINY
from tests.data import layouts

datasets = pytest.importorskip("datasets")
pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")


def find(tmp_path: Path, path: Path, **options):
    return find_huggingface(str(path), str(tmp_path / "cache"), **options)


def parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


PNG = [layouts.encoded(layouts.TONES[number % 2], number) for number in range(6)]


def test_splits_are_parts_and_rows_keep_their_bytes(tmp_path):
    images = find_huggingface(**layouts.huggingface(tmp_path))
    assert images.classes == ("bird", "cat")
    assert [images.count(images.in_part(part)) for part in ("train", "val", "test")] == [[4, 4]] * 3
    assert images.paths[0] == tmp_path / "table/train/0_0.png" and len(set(images.paths)) == 24
    again = pickle.loads(pickle.dumps(images))  # as a worker gets it
    for part in ("train", "validation", "test"):
        rows = pq.read_table(tmp_path / f"table/data/{part}-00000-of-00001.parquet").to_pylist()
        for row in rows:
            index = images.find(tmp_path / "table" / part / row["image"]["path"])
            with Image.open(BytesIO(row["image"]["bytes"])) as own:
                assert again.read(index).tobytes() == own.tobytes()
            (tmp_path / "file.png").write_bytes(row["image"]["bytes"])
            assert (
                images.digest(index) == content_digest(tmp_path / "file.png") and images.labels[index] == row["label"]
            )
    assert len(set(images.keys())) == 24


def test_what_save_to_disk_wrote_a_folder_of_images_and_a_single_file(tmp_path):
    options = layouts.huggingface(tmp_path)
    own = datasets.load_dataset(options["path"], cache_dir=options["root"])
    own.save_to_disk(str(tmp_path / "saved"))
    saved = find(tmp_path, tmp_path / "saved")
    assert saved.labels == find_huggingface(**options).labels
    own["train"].shuffle(seed=1).select(range(5)).save_to_disk(
        str(tmp_path / "chosen")
    )  # rows through a list of indices
    chosen = find(tmp_path, tmp_path / "chosen")
    assert len(chosen) == 5 and chosen.part is None and chosen.paths[0].name != "0_0.png"
    for number in range(4):
        for name, tone in zip(("cat", "dog"), layouts.TONES, strict=True):
            layouts.paint(tmp_path / "folder" / name / f"{number}.png", tone)
    folder = find(tmp_path, tmp_path / "folder")
    assert folder.source is None and folder.paths[0].is_file() and folder.classes == ("cat", "dog")
    plain = parquet(tmp_path / "plain.parquet", picture=PNG, kind=["b", "a", "b", "a", "b", "a"])
    one = find(tmp_path, plain, image_column="picture", label_column="kind")
    assert one.classes == ("a", "b") and one.labels == [1, 0] * 3 and one.paths[3].name == "000003"
    assert one.read(2).size == layouts.SIZE


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"image": PNG, "label": [0, 1] * 3}, {}, "^dataset.image_column is not given, and is none of image, label"),
        ({"image": PNG, "label": [0, 1] * 3}, {"image_column": "imag"}, "^dataset.image_column=imag is no column .*image"),
        ({"image": PNG, "y": [0, 1] * 3}, {"image_column": "image"}, "^dataset.label_column is not given"),
        ({"image": PNG, "label": [0.5] * 6}, {"image_column": "image"}, "^dataset.label_column=label holds 0.5, a float"),
        ({"image": PNG, "label": [0, None] * 3}, {"image_column": "image"}, "holds None"),
        ({"image": [1.5] * 6, "label": [0, 1] * 3}, {"image_column": "image"}, "^dataset.image_column=image holds no images"),
        ({"image": PNG, "label": [0, 1] * 3}, {"image_column": "image", "splits": ["trian"]}, "no trian: did you mean train"),
    ],
)  # fmt: skip
def test_tables_that_will_not_do(tmp_path, columns, options, said):
    with pytest.raises(UserError, match=said):
        find(tmp_path, parquet(tmp_path / "a.parquet", **columns), **options)


def test_withheld_labels(tmp_path):
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = {"image": [{"bytes": one, "path": None} for one in PNG], "label": [0, 1, 0, 1, -1, -1]}
    whole = datasets.Dataset.from_dict(rows, features=features)
    splits = {"train": whole.select(range(4)), "test": whole.select(range(4, 6))}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    with pytest.raises(UserError, match="label_column=label holds -1, .*splits=.train,validation"):
        find(tmp_path, tmp_path / "saved")
    assert len(find(tmp_path, tmp_path / "saved", splits=["train"])) == 4


def test_sources_that_will_not_do(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 cut")
    (tmp_path / "empty").mkdir()
    for path, options, said in (
        (None, {}, "^dataset.path is not given"),
        ("nobody/nothing", {}, "^dataset.path=nobody/nothing cannot be read .*: fetch it .* dataset.download=true"),
        (str(tmp_path / "a.txt"), {}, "has the ending .txt: expected a folder"),
        (str(tmp_path / "cut.parquet"), {}, "^dataset.path=.*cut.parquet cannot be read"),
        (str(tmp_path / "empty"), {}, "^dataset.path=.*empty cannot be read"),
        (str(tmp_path / "empty"), {"streaming": True}, "^dataset.path=.*empty cannot be streamed"),
        (str(tmp_path / "cut.parquet"), {"streaming": True}, "^dataset.path=.*cut.parquet cannot be streamed"),
        (
            "nobody/nothing",
            {"streaming": True},
            "^dataset.path=nobody/nothing cannot be streamed .*dataset.download=true",
        ),
    ):
        with pytest.raises(UserError, match=said):
            find_huggingface(path, str(tmp_path / "cache"), **options)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="needs datasets: pip install 'camexp.huggingface.'"):
        find_huggingface("a/b")


def test_broken_rows_are_skipped_and_a_checkpoint_may_not_name_one(tmp_path):
    broken = parquet(tmp_path / "a.parquet", image=[*PNG, b"no image"], label=[*"aabbab", "b"])
    options = {"_target_": "camexp.data.find_huggingface", "path": str(broken), "root": str(tmp_path / "cache"),
               "image_column": "image"}  # fmt: skip
    images = build_images(DatasetOptions.read(options | {"max_skipped": 0.2}), str(tmp_path / "run"))
    assert len(images) == 6
    assert "a.parquet/train/000006,cannot identify image file" in (tmp_path / "run/skipped.csv").read_text()
    with pytest.raises(UserError, match="^ckpt: .*dataset=huggingface"):
        recorded_dataset(options)


@pytest.mark.slow
def test_train_with_stored_features_and_evaluate(script, tmp_path):
    options = layouts.huggingface(tmp_path)
    given = ("dataset=huggingface", f"dataset.path={options['path']}", f"dataset.root={options['root']}")
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), tmp_path / "w.safetensors")
    run = (*given, *TINY, "model.weights=w.safetensors", "model.freeze=trunk", "transform=resize", "transform.size=32",
           "features.cache=features", "num_workers=2", "batch_size=4")  # fmt: skip
    done = script("train.py", *run, "hydra.run.dir=run")
    assert done.code == 0, done.err
    shutil.rmtree(tmp_path / "run")
    done = script("train.py", *run, "hydra.run.dir=run")
    assert "(16 there already)" in done.out, done.err
    done = script("evaluate.py", "ckpt=run/checkpoints/best.ckpt", *given, "part=test", "num_workers=0", "output=out")
    assert done.code == 0 and "top-1" in done.out, done.err
    assert f"{options['path']}/test/0_200.png" in (tmp_path / "out/per_image.csv").read_text()
