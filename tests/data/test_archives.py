"""CUB-200-2011 and ImageNet as their archives have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camexp import UserError
from camexp.config import SplitOptions
from camexp.data import find_cub200, find_imagenet, split_images
from tests.data.layouts import BIRDS, BOXES, WNIDS, annotation, cub200, imagenet

SPLIT = SplitOptions(val_fraction=0.5)


def test_cub200(tmp_path):
    images = find_cub200(**cub200(tmp_path, each=6))
    assert images.classes == BIRDS and images.count() == [6, 6]
    own, test = images.in_part("train"), images.in_part("test")
    assert [int(images.paths[index].stem[-1]) % 2 for index in (*own, *test)] == [0] * 6 + [1] * 6
    for index, path in enumerate(images.paths):
        assert images.boxes(path).tolist() == [BOXES[images.labels[index]]]
    split = split_images(images, SPLIT, seed=0)  # its own training images are divided
    assert sorted(split.train + split.val) == list(own) and images.count(split.val) == [2, 2]
    everything = split_images(images, SplitOptions(all=True), seed=0)
    assert everything.train == everything.val == own
    assert find_cub200(str(tmp_path / "CUB_200_2011")) == images


@pytest.mark.parametrize(
    ("file", "before", "after", "said"),
    [("images.txt", "1 001", "99 001", "the image 1 stands in only one of images.txt and image_class_labels.txt"),
     ("images.txt", "_0000.jpg", "_9999.jpg", r"lacks 2 of 8 images \(the first is \S+_9999.jpg"),
     ("train_test_split.txt", "3 1\n", "", "the image 3 stands in only one of images.txt and train_test_split.txt"),
     ("image_class_labels.txt", "1 1\n", "1 7\n", "the class 7 of 001.Black_footed_Albatross/Black_footed_Albatross_0000.jpg"),
     ("bounding_boxes.txt", "1 12.0 8.0", "1 12.0 x", "the image 1 in .* has no x, y, width and height: 12.0 x"),
     ("bounding_boxes.txt", "1 12.0 8.0", "1 8.0", "line 1 of .*bounding_boxes.txt is not a number and 4 words"),
     ("classes.txt", None, None, "classes.txt cannot be read")],
)  # fmt: skip
def test_cub200_that_is_wrong(tmp_path, file, before, after, said):
    options = cub200(tmp_path)
    path = tmp_path / "CUB_200_2011" / file
    if before is None:
        path.unlink()
    else:
        path.write_text(path.read_text().replace(before, after))
    with pytest.raises(UserError, match=said):
        find_cub200(**options)


@pytest.mark.parametrize("labels", ["xml", "csv", "devkit"])
def test_imagenet(tmp_path, labels):
    images = find_imagenet(**imagenet(tmp_path, labels=labels))
    split = split_images(images, SPLIT, seed=0)
    assert images.classes == WNIDS and images.count(split.train) == images.count(split.val) == [3, 3]
    names = [images.paths[index].name for index in split.val]
    assert names == [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 7)]
    expected = {"xml": lambda box: [box, [0, 0, 5, 5]], "csv": lambda box: [box, box], "devkit": lambda box: None}[
        labels
    ]
    for index in split.val:
        boxes = images.boxes(images.paths[index])
        assert (None if boxes is None else boxes.tolist()) == expected(BOXES[images.labels[index]])
    trained = [images.boxes(images.paths[index]) for index in split.train]
    assert np.array_equal(trained[0], [BOXES[0]]) and trained[1] is None


def test_imagenet_whose_validation_images_were_sorted_into_classes(tmp_path):
    options = imagenet(tmp_path)
    whole, val = find_imagenet(**options), tmp_path / "ILSVRC/Data/CLS-LOC/val"
    for index in whole.in_part("val"):
        folder = val / whole.classes[whole.labels[index]]
        folder.mkdir(exist_ok=True)
        whole.paths[index].rename(folder / whole.paths[index].name)
    moved = find_imagenet(**options)
    assert list(moved.labels) == list(whole.labels)
    assert moved.boxes(moved.paths[-1]).tolist() == [BOXES[1], [0, 0, 5, 5]]


def test_imagenet_that_is_wrong(tmp_path):
    options = imagenet(tmp_path)
    last = tmp_path / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000006.xml"
    annotation(last, "n99", BOXES[0])
    with pytest.raises(UserError, match="val has the class n99, of which there is no folder"):
        find_imagenet(**options)
    annotation(last, WNIDS[0], [9, 0, 4, 5])
    with pytest.raises(UserError, match=r"ILSVRC2012_val_00000006.xml cannot be read .*inverted"):
        find_imagenet(**options)
    last.unlink()
    with pytest.raises(
        UserError, match="nothing says the class of 1 validation images .*00000006.*LOC_val_solution.csv"
    ):
        find_imagenet(**options)
    Path(tmp_path, "LOC_val_solution.csv").write_text(
        "ImageId,PredictionString\nILSVRC2012_val_00000001,n01440764 1 2\n"
    )
    with pytest.raises(UserError, match="line 2 of .*LOC_val_solution.csv is not image,class x0"):
        find_imagenet(**options)
    with pytest.raises(UserError, match="has no folder .*Data/CLS-LOC/train"):
        find_imagenet(str(tmp_path / "ILSVRC/Annotations"))
