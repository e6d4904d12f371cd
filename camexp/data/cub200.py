"""CUB-200-2011 (Wah, Branson, Welinder, Perona, Belongie, 2011): birds, each with a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.box_formats import Boxes
from camexp.data.imagefolder import require_folder
from camexp.data.imageset import PARTS, ImageSet
from camexp.data.listed import ListedBoxes
from camexp.errors import UserError, reason


def find_cub200(root: str | None) -> ImageSet:
    """CUB-200-2011 as its archive has it: the class is called ``001.Black_footed_Albatross``, the parts are those of
    ``train_test_split.txt``. Validation images are divided from its training images: see the group ``split``.

    Args:
        root: the folder that holds or is ``CUB_200_2011``.

    Raises:
        UserError: a table or an image that is absent, tables that do not fit together, or a line of another form.
    """
    folder = require_folder(root, "the folder that holds or is CUB_200_2011")
    folder = folder / "CUB_200_2011" if (folder / "CUB_200_2011").is_dir() else folder
    names = _table(folder / "images.txt", 1)
    classes = _table(folder / "classes.txt", 1)
    labels = _table(folder / "image_class_labels.txt", 1)
    parts = _table(folder / "train_test_split.txt", 1)
    boxes = _table(folder / "bounding_boxes.txt", 4)
    for file, table in (("image_class_labels", labels), ("train_test_split", parts), ("bounding_boxes", boxes)):
        if odd := sorted(table.keys() ^ names.keys()):
            raise UserError(
                f"dataset.root={root}: the image {odd[0]} stands in only one of images.txt and {file}.txt: "
                "unpack the archive anew"
            )
    paths = {key: folder / "images" / name for key, (name,) in names.items()}
    if absent := [path for path in paths.values() if not path.is_file()]:
        raise UserError(
            f"dataset.root={root} lacks {len(absent)} of {len(paths)} images (the first is {absent[0]}): "
            "unpack the archive anew"
        )
    order = {key: number for number, key in enumerate(classes)}
    for key, (label,) in labels.items():
        if label not in order:
            raise UserError(f"dataset.root={root}: the class {label} of {names[key][0]} is not in classes.txt")
    return ImageSet(
        folder / "images",
        tuple(name for (name,) in classes.values()),
        PathArray.of(paths.values()),
        IntArray([order[labels[key][0]] for key in names]),
        part=IntArray([PARTS.index("train" if parts[key] == ["1"] else "test") for key in names]),
        boxes=ListedBoxes({str(paths[key]): _box(boxes[key], key, folder) for key in names}),
    )


def _table(path: Path, columns: int) -> dict[str, list[str]]:
    """Lines of a number and so many words."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(
            f"dataset.root: {path} cannot be read ({reason(error)}): expected CUB_200_2011 as its archive has it"
        ) from error
    rows: dict[str, list[str]] = {}
    for number, line in enumerate(lines, 1):
        key, *words = line.split()
        if len(words) != columns:
            raise UserError(
                f"dataset.root: line {number} of {path} is not a number and {columns} word{'s' * (columns > 1)}: "
                f"{line[:80]}"
            )
        rows[key] = words
    return rows


def _box(words: list[str], key: str, folder: Path) -> Boxes:
    try:
        x, y, width, height = map(float, words)
        if not np.isfinite([x, y, width, height]).all() or min(width, height) < 0:
            raise ValueError
    except ValueError as error:
        raise UserError(
            f"dataset.root: the image {key} in {folder / 'bounding_boxes.txt'} has no x, y, width and height: "
            f"{' '.join(words)}"
        ) from error
    # the corner x + width, not a pixel before it: so Choe et al. (CVPR 2020) have written their boxes of these images
    return np.array([[x, y, x + width, y + height]])
