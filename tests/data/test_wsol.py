"""The lists of wsolevaluation: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camexp import UserError
from camexp.config import SplitOptions
from camexp.data import find_wsol, split_images
from tests.data.layouts import BIRDS, wsol

SPLIT = SplitOptions(val_fraction=0.2)


def found(options, **more):
    return find_wsol(**{**options, **more})


@pytest.mark.parametrize("named", [False, True])
def test_the_parts_are_those_of_the_lists(tmp_path, named):
    images = found(wsol(tmp_path, named=named))
    split = split_images(images, SPLIT, seed=0)
    parts = {"train": split.train, "val": split.val, "test": images.in_part("test")}
    for part, indices in parts.items():
        names = [f"{bird}/{part}{number}.jpg" for bird in BIRDS for number in range(4)]
        assert [images.paths[index].relative_to(images.root).as_posix() for index in indices] == names
        assert [images.labels[index] for index in indices] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert images.classes == BIRDS
    first = images.in_part("test")[1]
    assert images.boxes(images.paths[first]).tolist() == [[13, 8, 41, 29], [1, 1, 9, 7]]


def test_parts_stay_with_their_images(tmp_path):
    images = found(wsol(tmp_path)).select_classes([BIRDS[1], BIRDS[0]])
    some = images.take(range(0, len(images), 2))
    assert [len(some.in_part(part)) for part in ("train", "val", "test")] == [4, 4, 4]
    assert all(f"/{part}" in str(some.paths[index]) for part in ("val", "test") for index in some.in_part(part))


def test_masks_of_all_objects_together(tmp_path):
    images = found(wsol(tmp_path, masks=True))
    path = images.paths[images.in_part("val")[0]]
    folder = path.parent
    each = [np.asarray(Image.open(folder / f"0_{name}.png")) for name in ("m0_a", "m0_b", "ignore")]
    assert np.array_equal(images.mask(path), each[0] | each[1]) and np.array_equal(images.ignore(path), each[2])
    assert images.boxes is None and images.masked(path)
    trained = images.paths[images.in_part("train")[0]]
    assert images.mask(trained) is None and images.ignore(trained) is None and not images.masked(trained)


def test_masks_elsewhere_and_a_proxy(tmp_path):
    options = wsol(tmp_path, masks=True)
    (tmp_path / "masks").mkdir()
    for file in sorted((tmp_path / "dataset").rglob("*.png")):
        target = tmp_path / "masks" / file.relative_to(tmp_path / "dataset")
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    with pytest.raises(UserError, match=r"^dataset.root=\S+ lacks 24 files .*_m0_a.png"):
        found(options)
    proxy = [f"train/{bird}/2.jpg" for bird in BIRDS]
    Path(options["metadata"], "train/image_ids_proxy.txt").write_text("\n".join(proxy))
    images = found(options, masks=str(tmp_path / "masks"), proxy=True)
    assert len(images.in_part("train")) == 2 and len(images.in_part("val")) == 8
    assert images.mask(images.paths[images.in_part("test")[0]]).any()


def test_classes_without_a_folder_each_are_numbers(tmp_path):
    options = wsol(tmp_path)
    for part in ("train", "val", "test"):
        for file in Path(options["metadata"], part).iterdir():
            file.write_text(file.read_text().replace(f"{BIRDS[1]}/", f"{BIRDS[0]}/2-"))
    for file in (tmp_path / "dataset" / BIRDS[1]).iterdir():
        file.rename(tmp_path / "dataset" / BIRDS[0] / f"2-{file.name}")
    assert found(options).classes == ("0", "1")


def replaced(file, before, after):
    return lambda lists: (lists / file).write_text((lists / file).read_text().replace(before, after))


def dropped(file, place):
    def change(lists):
        lines = (lists / file).read_text().splitlines(keepends=True)
        (lists / file).write_text("".join(lines[:place] + lines[place + 1 :]))

    return change


A, B = f"{BIRDS[0]}/val0.jpg", f"{BIRDS[0]}/test1.jpg"
WRONG = {
    "no list": (lambda lists: (lists / "test/class_labels.txt").unlink(), "class_labels.txt cannot be read"),
    "no boxes": (lambda lists: (lists / "val/localization.txt").unlink(), "val/localization.txt does not exist"),
    "empty": (lambda lists: (lists / "val/image_ids.txt").write_text(""), "val/image_ids.txt names no image"),
    "twice": (replaced("val/image_ids.txt", A, f"{A}\n{A}"), f"names {A} twice"),
    "no label": (dropped("val/class_labels.txt", 0), rf"class_labels.txt lacks 1 image \(the first is {A}\)"),
    "no id": (dropped("val/image_ids.txt", 0), rf"class_labels.txt names 1 image, which \S+ does not name .*{A}"),
    "no size": (dropped("test/image_sizes.txt", 1), rf"image_sizes.txt lacks 1 image \(the first is {B}\)"),
    "no box": (dropped("val/localization.txt", 0), rf"localization.txt lacks 1 image \(the first is {A}\)"),
    "negative": (replaced("val/class_labels.txt", f"{A},0", f"{A},-1"), rf"line 1 of \S+ is not image,label .*{A},-1"),
    "range": (replaced("val/class_labels.txt", f"{A},0", f"{A},2"), rf"the label 2 of {A} .* have 0 to 1$"),
    "gap": (replaced("train/class_labels.txt", ",1\n", ",2\n"), "has labels up to 2 and no image of 1"),
    "size": (replaced("test/image_sizes.txt", f"{B},60,40", f"{B},40,60"), f"says 40×60 of {B}, which has 60×40 pixels"),
    "inverted": (replaced("val/localization.txt", ",12,8,41,29", ",41,8,12,29"), f"a box of {A} is inverted"),
    "words": (replaced("test/localization.txt", ",13,8,", ",13,x,"), "line 2 is not image,x0,y0,x1,y1"),
    "leak": (lambda lists: [replaced(f"test/{file.name}", B, A)(lists) for file in (lists / "test").iterdir()],
             f"{A} is among the val and the test images"),
    "no image": (lambda lists: (lists.parent / "dataset" / A).unlink(), rf"^dataset.root=\S+ lacks 1 file .*{A}"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_sentence(tmp_path, wrong):
    options = wsol(tmp_path)
    change, said = WRONG[wrong]
    change(Path(options["metadata"]))
    with pytest.raises(UserError, match=said) as told:
        found(options)
    assert "\n" not in str(told.value) and str(told.value).startswith("dataset.")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [("0_ignore.png", "1_ignore.png", None), ("_m0_a.png,", "_m0_x.png,", "lacks 8 files"), (",", ";", "neither image"),
     ("_m0_b.png,", "_m0_b.png,val/a.png", "a second mask of what to ignore")],
)  # fmt: skip
def test_masks_that_are_wrong(tmp_path, before, after, said):
    options = wsol(tmp_path, masks=True)
    for part in ("val", "test"):
        replaced(f"{part}/localization.txt", before, after)(Path(options["metadata"]))
    if said is None:
        found(options)
    else:
        with pytest.raises(UserError, match=said):
            found(options)


def test_a_mask_that_cannot_be_read(tmp_path):
    images = found(wsol(tmp_path, masks=True))
    path = images.paths[images.in_part("val")[0]]
    (path.parent / "0_m0_b.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"the mask \S+0_m0_b.png cannot be decoded"):
        images.mask(path)
    Image.new("L", (5, 5)).save(path.parent / "0_m0_b.png")
    with pytest.raises(UserError, match=r"of one image are \(90, 60\) and \(5, 5\)"):
        images.mask(path)


def test_what_is_absent(tmp_path):
    options = wsol(tmp_path / "CUB")
    with pytest.raises(UserError, match="^dataset.metadata is not given"):
        found(options, metadata=None)
    Path(options["metadata"]).rename(tmp_path / "metadata")
    with pytest.raises(UserError, match="holds no folder train, val or test: expected"):
        found(options, metadata=str(tmp_path / "CUB"))
    (tmp_path / "all").mkdir()
    (tmp_path / "metadata").rename(tmp_path / "all/CUB")
    with pytest.raises(UserError, match="give one of the data sets in it, as dataset.metadata=.*all/CUB$"):
        found(options, metadata=str(tmp_path / "all"))
    lists = tmp_path / "all/CUB"
    for file in (lists / "train").iterdir():
        file.unlink()
    (lists / "train").rmdir()
    images = found(options, metadata=str(lists))  # enough to measure on
    assert images.classes == BIRDS
    with pytest.raises(UserError, match="no training image of the class 001.Black_footed_Albatross and 1 more"):
        split_images(images, SPLIT, seed=0)
