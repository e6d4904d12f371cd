"""shapes: a data set that draws itself, as image files with exact boxes and masks."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.data.box_formats import Boxes, read_boxes
from camexp.data.drawing import OBJECTS, draw_picture
from camexp.data.imagefolder import class_folders, collect_images, has_extension
from camexp.data.imageset import ImageSet
from camexp.errors import UserError
from camexp.files import write_csv
from camexp.images import read_mask
from camexp.reporting.progress import Progress

VERSION = 1  # of the drawing: raise it when the same seed no longer gives the same pictures


def find_shapes(root: str = "outputs/data/shapes", per_class: int = 260, size: int = 128, seed: int = 0) -> ImageSet:
    """The data set, drawn on first use; the same files for the same arguments.

    ``root/<name>/images/star/star_0000.jpg``, ``masks/star/star_0000.png`` (0 or 255) and ``boxes.csv``
    (``image,x0,y0,x1,y1,label``: pixels, corners inclusive), ``<name>`` telling the arguments.

    Args:
        root: where the files are kept.
        per_class: images of each of the eight classes.
        size: pixels each way, 32 to 1024.
        seed: a whole number from 0.

    Raises:
        UserError: an argument out of range, or a folder that cannot be written.
    """
    folder = shapes_folder(root, per_class, size, seed)
    if not folder.is_dir():
        try:
            _write(folder, per_class, size, seed)
        except OSError as error:
            raise UserError(f"dataset.root={root} cannot be written ({error}): give dataset.root=DIR") from error
    images = collect_images(
        folder / "images", class_folders(folder / "images"), str, has_extension(frozenset({".jpg"}))
    )
    return replace(images, mask=drawn_mask, boxes=DrawnBoxes(folder))


def shapes_folder(root: str = "outputs/data/shapes", per_class: int = 260, size: int = 128, seed: int = 0) -> Path:
    """Where :func:`find_shapes` keeps the files of these arguments.

    Raises:
        UserError: an argument out of range.
    """
    for name, value, low, high in (
        ("per_class", per_class, 2, 100000),
        ("size", size, 32, 1024),
        ("seed", seed, 0, 2**31),
    ):
        if not isinstance(value, int) or not low <= value <= high:
            raise UserError(f"dataset.{name}={value} is out of range: expected a whole number from {low} to {high}")
    return Path(root).expanduser() / f"v{VERSION}-seed{seed}-{per_class}x{len(OBJECTS)}-{size}px"


@dataclass(frozen=True)
class DrawnBoxes:
    """The box of the object in an image, of ``boxes.csv``, which is read when the first is asked for: by an evaluation.

    Args:
        folder: of the data set.
    """

    folder: Path

    def __call__(self, image: Path) -> Boxes | None:
        return self._boxes.get(image.relative_to(self.folder / "images").as_posix())

    @cached_property
    def _boxes(self) -> dict[str, Boxes]:
        return read_boxes(self.folder / "boxes.csv")


def drawn_mask(image: Path) -> NDArray[np.bool_]:
    """The object's pixels ``(H, W)`` in an image of this data set."""
    return read_mask(image.parents[2] / "masks" / image.parent.name / f"{image.stem}.png")


def _write(folder: Path, per_class: int, size: int, seed: int) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".drawing-") as temporary:
        whole = Path(temporary, "whole")
        boxes: list[tuple[str, int, int, int, int, int]] = []
        with Progress("drawing shapes", total=per_class * len(OBJECTS), unit="images") as progress:
            for label, name in enumerate(sorted(OBJECTS)):
                for kind in ("images", "masks"):
                    (whole / kind / name).mkdir(parents=True)
                for number in range(per_class):
                    picture, mask = draw_picture(name, size, np.random.default_rng([seed, label, number]))
                    stem = f"{name}/{name}_{number:04d}"
                    Image.fromarray(picture).save(whole / "images" / f"{stem}.jpg", quality=92)
                    Image.fromarray(mask.astype(np.uint8) * 255).save(whole / "masks" / f"{stem}.png")
                    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                    box = int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
                    boxes.append((f"{stem}.jpg", *box, label))
                    progress.advance(1)
        write_csv(whole / "boxes.csv", ("image", "x0", "y0", "x1", "y1", "label"), boxes)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was quicker: its files are the same
                raise
