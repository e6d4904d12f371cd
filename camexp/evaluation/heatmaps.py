"""Maps that were made elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.data.matlab import read_matlab
from camexp.errors import UserError, reason

ENDINGS = (".npy", ".npz", ".mat", ".png")


def read_heatmap(folder: Path, image: Path, root: Path) -> NDArray[np.float32]:
    """The map of an image, ``(h, w)`` float32.

    Args:
        folder: where PATH/IMAGE.npy, .npz, .mat or .png lies for ``root/PATH/IMAGE.jpg``, or IMAGE.npy ….
            In ``.npz`` and ``.mat`` the first of the names ``cam``, ``map``, ``maps``, ``upsampled`` counts, or
            else the first array of two dimensions; of several maps ``(K, h, w)`` the first.

    Raises:
        UserError: no file, or one that is not a map.
    """
    relative = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    candidates = [folder / one.with_suffix(end) for one in (relative, Path(image.name)) for end in ENDINGS]
    file = next((one for one in candidates if one.is_file()), None)
    if file is None:
        raise UserError(f"heatmaps={folder} has no map of {relative}: expected {candidates[0]}, or .npz, .mat or .png")
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
        with Image.open(file) as image:
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
