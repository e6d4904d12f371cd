"""What is written for each image: overlays, raw maps, a row a map, a tile in a montage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from camexp.cam.boxes import Box, box_from_map
from camexp.cam.colour import overlay
from camexp.cam.maps import upsample
from camexp.config import PredictOptions
from camexp.files import as_text, atomic_write, save_png
from camexp.methods import build_normalisation, describe_maps
from camexp.reporting.figures import add_colour_bar

log = logging.getLogger(__name__)

TOP = 5
MATLAB_LIMIT = 2**31 - 1  # bytes of one variable in a .mat file of this version

# SciPy's writer keeps the size of what it writes in an attribute of its class (VarWriter5.mat_tag, SciPy 1.17): of two
# threads that write at the same time, one's file cannot be read
_SAVEMAT = Lock()


@dataclass(frozen=True)
class Explanation:
    """One image with its maps, on the CPU.

    Attributes:
        path: the file.
        pixels: ``(H, W, 3)`` upright RGB bytes.
        logits: ``(C,)``; probabilities: their softmax.
        maps: ``(K, h, w)`` float32, raw.
        labels: ``(K,)`` the class of each map.
        classes: all class names.
        more: ``(L, h, w)`` maps and ``(L,)`` their classes, for the report; ``None``: the same ones.
        pool: how the network's head pools.
        digest: of the file's bytes, 32 hexadecimal digits; empty where nobody asks for it.
    """

    path: Path
    pixels: NDArray[np.uint8]
    logits: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    maps: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: Sequence[str]
    more: tuple[NDArray[np.float32], NDArray[np.int64]] | None = None
    pool: str = "gap"
    digest: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)`` of the photograph."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def upsampled(self, number: int) -> NDArray[np.float32]:
        """Map ``number`` at the photograph's size, ``(H, W)``."""
        return upsample(torch.from_numpy(self.maps[number])[None, None], self.size)[0, 0].numpy()


def write_results(
    image: Explanation, name: str, class_files: Sequence[str], folder: Path, options: PredictOptions
) -> list[tuple[Any, ...]]:
    """Write one image's files; returns its rows of ``predictions.csv``.

    One map at a time is held at the photograph's size, but for the arrays that are asked for.
    """
    rows = []
    files = not options.in_few_files
    arrays = files and (options.mat.write or options.npz)
    size = 4 * len(image.labels) * image.size[0] * image.size[1]
    keep = arrays and options.mat.upsampled and size <= MATLAB_LIMIT
    if arrays and options.mat.upsampled and not keep:
        log.warning(
            f"{image.path}: {size / 1e9:.1f} GB of upsampled maps are left out of {name}.mat: `maps` has them small"
        )
    upsampled = np.empty((len(image.labels), *image.size), np.float32) if keep else None
    order = np.argsort(-image.probabilities, kind="stable")[:TOP]
    top = [value for label in order for value in (image.classes[label], _share(image.probabilities[label]))]
    top += [None, None] * (TOP - len(order))
    for number, label in enumerate(image.labels):
        cam = image.upsampled(number)
        if upsampled is not None:
            upsampled[number] = cam
        if files and options.overlays:
            _write_overlay(image, cam, folder / "overlays" / f"{name}__{class_files[label]}.png", options)
        box: Box | tuple[None, ...] = box_from_map(cam) or (None,) * 4
        rows.append((image.path, image.classes[label], label, _share(image.probabilities[label]), *box, *top))
    if arrays:
        content = _arrays(image, upsampled, describe_maps(options.cam, image.pool))
        if options.mat.write:
            with atomic_write(folder / "maps" / f"{name}.mat") as temporary, _SAVEMAT:
                savemat(temporary, content, appendmat=False, do_compression=False, oned_as="row")
                _drop_date(temporary)
        if options.npz:
            with atomic_write(folder / "maps" / f"{name}.npz") as temporary:
                np.savez(temporary, **{**content, "class_names": content["class_names"].astype(str)})
    return rows


HEADER = (
    "path", "class", "label", "probability", "x0", "y0", "x1", "y1",
    *(f"top{rank}_{what}" for rank in range(1, TOP + 1) for what in ("class", "probability")),
)  # fmt: skip


def _write_overlay(image: Explanation, cam: NDArray[np.float32], path: Path, options: PredictOptions) -> None:
    normalisation = build_normalisation(options.cam)
    heat = Image.fromarray(overlay(image.pixels, cam, options.colormap, options.alpha, normalisation))
    if options.colorbar:
        low, high = (float(limit) for limit in normalisation.limits(torch.from_numpy(cam)))
        heat = add_colour_bar(heat, low, high, options.colormap)
    save_png(path, heat, describe_maps(options.cam, image.pool))


def _drop_date(path: Path) -> None:
    """The first 116 bytes of a .mat file are for people, and SciPy writes the time there: without it the same maps are
    the same bytes."""
    with path.open("r+b") as file:
        file.write(b"MATLAB 5.0 MAT-file, written by camexp".ljust(116))


def _arrays(image: Explanation, upsampled: NDArray[np.float32] | None, made: str) -> dict[str, Any]:
    names = np.empty(len(image.labels), dtype=object)
    names[:] = [image.classes[label] for label in image.labels]
    content = {
        "maps": image.maps,
        "labels": image.labels,
        "class_names": names,
        "logits": image.logits,
        "probabilities": image.probabilities,
        "image_path": as_text(image.path),
        "image_size": np.array(image.size),
        "made": made,
    }
    return content if upsampled is None else {**content, "upsampled": upsampled}


def _share(value: float) -> str:
    return f"{value:.6f}"
