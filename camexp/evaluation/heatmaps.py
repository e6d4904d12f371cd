"""Maps that were made elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camexp.data import ImageSet
from camexp.data.matlab import read_matlab
from camexp.errors import UserError, reason
from camexp.evaluation.file_names import FileNames
from camexp.files import file_stamp
from camexp.images import open_image

ENDINGS = (".npy", ".npz", ".mat", ".png")


class Heatmaps:
    """The maps of an image set, each in a file: PATH/IMAGE.npy, .npz, .mat or .png for the image PATH/IMAGE.jpg, or
    IMAGE.npy … if no other image has that name.

    Args:
        folder: where they lie.
        images: what they are of.
    """

    def __init__(self, folder: Path, images: ImageSet):
        self.folder, self.images, self._names = folder, images, FileNames(images.paths, images.root)

    def file(self, index: int) -> Path:
        """Where the map of an image is.

        Raises:
            UserError: there is none.
        """
        image = self.images.paths[index]
        if (file := self._names.find(image, self.folder, ENDINGS)) is None:
            name = next(self._names.of(image))
            raise UserError(
                f"heatmaps={self.folder} has no map of {name}{image.suffix}: expected {self.folder / name}.npy, "
                "or .npz, .mat or .png"
            )
        return file

    def read(self, index: int) -> NDArray[np.float32]:
        """The map of an image ``(1, h, w)``.

        Raises:
            UserError: there is none, or a file that is not a map.
        """
        return read_heatmap(self.file(index))[None]

    def again(self, index: int) -> Callable[[], NDArray[np.float32]]:
        """What reads it once more."""
        return partial(self.read, index)

    def digest(self) -> str:
        """What stands for all files as they are now, 32 hexadecimal digits; they are not read.

        Raises:
            UserError: an image without a map.
        """
        digest = hashlib.blake2b(digest_size=16)
        for index in range(len(self.images)):
            digest.update(file_stamp(self.file(index)))
        return digest.hexdigest()


def read_heatmap(file: Path) -> NDArray[np.float32]:
    """One map ``(h, w)`` float32.

    Args:
        file: ``.npy``, ``.npz``, ``.mat`` or ``.png``. In ``.npz`` and ``.mat`` the first of the names ``cam``,
            ``map``, ``maps``, ``upsampled`` counts, or else the first array of two dimensions; of several maps
            ``(K, h, w)`` the first.

    Raises:
        UserError: it is not a map.
    """
    try:
        array = _read(file)
    except Exception as error:  # whatever a broken file makes a reader raise
        raise UserError(f"heatmaps: {file} could not be read ({reason(error)})") from error
    array = array[0] if array.ndim == 3 else array
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise UserError(f"heatmaps: {file} is not a map: expected finite numbers (h, w), got shape {array.shape}")
    return array


def _read(file: Path) -> NDArray[np.float32]:
    if file.suffix == ".png":
        with open_image(file) as image:
            return np.asarray(image if image.mode.startswith("I") else image.convert("L"), np.float32)
    if file.suffix == ".npy":
        return np.asarray(np.load(file, allow_pickle=False), np.float32)
    if file.suffix == ".npz":
        with np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in arrays.files}
    else:
        content = dict(read_matlab(file))
    for name in ("cam", "map", "maps", "upsampled"):
        if name in content:
            return np.asarray(content[name], np.float32)
    return next(np.asarray(v, np.float32) for v in content.values() if getattr(v, "ndim", 0) == 2 and v.size > 1)
