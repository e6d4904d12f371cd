"""Boxes and masks of images that lists name, by the images' paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camexp.data.box_formats import Boxes
from camexp.errors import UserError, reason
from camexp.images import UnreadableImage, read_mask


@dataclass(frozen=True)
class ListedBoxes:
    """Boxes by path, as a function.

    >>> ListedBoxes({"a/1.jpg": np.array([[0.0, 1.0, 5.0, 6.0]])})(Path("a/1.jpg")).tolist()
    [[0.0, 1.0, 5.0, 6.0]]
    """

    boxes: Mapping[str, Boxes]

    def __call__(self, path: Path) -> Boxes | None:
        return self.boxes.get(str(path))


@dataclass(frozen=True)
class ListedMasks:
    """Masks by path.

    Args:
        files: an image's path → the masks of its objects, one file each; every pixel that is not 0 belongs to one.
        ignore: an image's path → the mask of what counts neither as object nor as background.
    """

    files: Mapping[str, Sequence[Path]]
    ignore: Mapping[str, Path]

    def has(self, path: Path) -> bool:
        """Whether an image has a mask."""
        return str(path) in self.files

    def mask(self, path: Path) -> NDArray[np.bool_] | None:
        """The pixels of all objects together ``(H, W)``, at the first mask's size."""
        files = self.files.get(str(path))
        if not files:
            return None
        masks = [_read(file) for file in files]
        for file, one in zip(files, masks, strict=True):
            if one.shape != masks[0].shape:
                raise UserError(
                    f"dataset.metadata: the masks {files[0]} and {file} of one image are {masks[0].shape[::-1]} and "
                    f"{one.shape[::-1]} pixels: expected one size"
                )
        return np.logical_or.reduce(masks)

    def ignored(self, path: Path) -> NDArray[np.bool_] | None:
        """The pixels to ignore ``(H, W)``."""
        file = self.ignore.get(str(path))
        return None if file is None else _read(file)


def _read(file: Path) -> NDArray[np.bool_]:
    try:
        return read_mask(file)
    except UnreadableImage as error:
        raise UserError(f"dataset.metadata: the mask {file} cannot be decoded ({reason(error)})") from error
