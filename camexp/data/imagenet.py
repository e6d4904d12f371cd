"""ImageNet's localisation data (ILSVRC, Russakovsky et al., IJCV 2015) as its archive unpacks it."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.box_formats import Boxes
from camexp.data.imagefolder import class_folders, collect_images, has_extension, require_folder
from camexp.data.imageset import PARTS, ImageSet
from camexp.data.voc import read_voc
from camexp.errors import UserError, reason

IMAGES, ANNOTATIONS = "Data/CLS-LOC", "Annotations/CLS-LOC"
LABELS = (
    "LOC_val_solution.csv, Annotations/CLS-LOC/val, a devkit with map_clsloc.txt and "
    "ILSVRC…_clsloc_validation_ground_truth.txt, or one folder a class in val"
)


def find_imagenet(root: str | None) -> ImageSet:
    """ImageNet: a class is called by its WordNet number, ``n01440764``; the parts are ``train`` and ``val``.

    The classes of the validation images come from ``LOC_val_solution.csv``, from their annotations, or from the devkit;
    their boxes from the annotations, or else from ``LOC_val_solution.csv``.

    Args:
        root: the folder that holds or is ``ILSVRC``, with ``Data/CLS-LOC/train`` and ``val``.

    Raises:
        UserError: a folder that is absent, or a validation image without a known class.
    """
    given = require_folder(root, "the folder that holds or is ILSVRC, with Data/CLS-LOC in it")
    folder = given / "ILSVRC" if (given / "ILSVRC").is_dir() else given
    images = folder / IMAGES
    for part in ("train", "val"):
        if not (images / part).is_dir():
            raise UserError(
                f"dataset.root={root} has no folder {images / part}: expected {IMAGES}/train and {IMAGES}/val"
            )
    is_image = has_extension(frozenset({".jpeg", ".jpg", ".png"}))
    train = collect_images(images / "train", class_folders(images / "train"), str, is_image)
    if class_folders(images / "val"):
        val = collect_images(images / "val", class_folders(images / "val"), str, is_image)
        names, paths = [val.classes[label] for label in val.labels], val.path_array
        solution: dict[str, tuple[str, Boxes]] = {}
    else:
        files = sorted(entry.name for entry in os.scandir(images / "val") if is_image("", entry.name))
        solution = _solution([given, folder])
        paths = PathArray.of_bytes(os.fsencode(images / "val" / name) for name in files)
        names = _val_classes(folder, [Path(name).stem for name in files], solution, root)
    known = {name: label for label, name in enumerate(train.classes)}
    if not names:
        raise UserError(f"dataset.root={root}: {images / 'val'} holds no image")
    if unknown := next((name for name in names if name not in known), None):
        raise UserError(
            f"dataset.root={root}: val has the class {unknown}, of which there is no folder in {images / 'train'}"
        )
    boxes = ImageNetBoxes(str(images), str(folder / ANNOTATIONS), {name: each for name, (_, each) in solution.items()})
    return ImageSet(
        images,
        train.classes,
        PathArray.joining([train.path_array, paths]),
        IntArray(np.concatenate([np.asarray(train.labels), [known[name] for name in names]])),
        train.left_out,
        part=IntArray(np.repeat([PARTS.index("train"), PARTS.index("val")], [len(train), len(paths)])),
        boxes=boxes,
    )


@dataclass(frozen=True)
class ImageNetBoxes:
    """The boxes of an image, read when they are asked for: there are half a million files.

    Args:
        images, annotations: folders of the same form.
        listed: those of images without a file, by name.
    """

    images: str
    annotations: str
    listed: Mapping[str, Boxes] = field(default_factory=dict)

    def __call__(self, path: Path) -> Boxes | None:
        relative = path.relative_to(self.images)
        beside = Path(self.annotations, relative.parts[0], f"{path.stem}.xml")  # where val was sorted into classes
        for file in (Path(self.annotations, relative).with_suffix(".xml"), beside):
            if file.is_file():
                boxes = _annotation(file)[1]
                return boxes if len(boxes) else None
        return self.listed.get(path.stem)


def _annotation(file: Path) -> tuple[str, Boxes]:
    """The class and the boxes in a file, whose pixels are counted from 0, unlike Pascal VOC's."""
    try:
        _, classes, rows = read_voc(file, first=0)
        boxes = np.asarray(rows, np.float64).reshape(-1, 4)
        if not classes or not np.isfinite(boxes).all() or (boxes[:, :2] > boxes[:, 2:]).any():
            raise ValueError("no object, or an inverted box")
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise UserError(f"dataset.root: the annotation {file} cannot be read ({reason(error)})") from error
    return classes[0], boxes


def _solution(folders: list[Path]) -> dict[str, tuple[str, Boxes]]:
    """``LOC_val_solution.csv``: an image's name → its class and boxes."""
    path = next((one / "LOC_val_solution.csv" for one in folders if (one / "LOC_val_solution.csv").is_file()), None)
    if path is None:
        return {}
    found: dict[str, tuple[str, Boxes]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.reader(file), 1):
            if number == 1 or not row:
                continue
            try:
                words = row[1].split()
                boxes = np.array([word for place, word in enumerate(words) if place % 5], np.float64).reshape(-1, 4)
                found[row[0]] = words[0], boxes
            except (IndexError, ValueError) as error:
                raise UserError(
                    f"dataset.root: line {number} of {path} is not image,class x0 y0 x1 y1 …: {','.join(row)[:80]}"
                ) from error
    return found


def _val_classes(
    folder: Path, images: list[str], solution: Mapping[str, tuple[str, Boxes]], root: str | None
) -> list[str]:
    annotations = folder / ANNOTATIONS / "val"
    if solution:
        classes = {name: one for name, (one, _) in solution.items()}
    elif annotations.is_dir():
        classes = {name: _annotation(file)[0] for name in images if (file := annotations / f"{name}.xml").is_file()}
    else:
        classes = _devkit(folder, images)
    absent = [name for name in images if name not in classes]
    if absent:
        raise UserError(
            f"dataset.root={root}: nothing says the class of {len(absent)} validation images (the first is "
            f"{absent[0]}): expected {LABELS}"
        )
    return [classes[name] for name in images]


def _devkit(folder: Path, images: list[str]) -> dict[str, str]:
    """Numbers of classes, image by image, and what they mean: the text files of the devkits from 2014 on."""
    below = ("devkit/data", "*devkit*/data", "*devkit*/devkit/data")  # no **: it would walk through a million images
    found = [file for one in (folder, folder.parent) for name in below for file in one.glob(f"{name}/map_clsloc.txt")]
    synsets = min(found, default=None)
    truth = sorted(synsets.parent.glob("*_clsloc_validation_ground_truth.txt")) if synsets else []
    if synsets is None or not truth:
        return {}
    by_number = {words[1]: words[0] for line in synsets.read_text().splitlines() if len(words := line.split()) > 1}
    numbers = truth[0].read_text().split()
    # the images' own numbers, from 1, are the lines
    places = {name: int(number[1]) for name in images if (number := re.search(r"_(\d+)$", name))}
    return {name: by_number[numbers[at - 1]] for name, at in places.items()
            if 0 < at <= len(numbers) and numbers[at - 1] in by_number}  # fmt: skip
