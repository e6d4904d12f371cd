"""Pages of photographs with their maps beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image

from camexp.cam.colour import overlay
from camexp.cam.maps import upsample
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.config import PredictOptions
from camexp.files import save_png
from camexp.methods import build_normalisation, describe_maps
from camexp.prediction.results import Explanation
from camexp.reporting.figures import add_caption, grid, resize_longer_side


class Montages:
    """Pages in the order of the inputs, each written as soon as the last of its images is there.

    Args:
        folder: where ``montage_0001.png`` … go.
        count: how many images there will be.
        options: ``montage``, ``colormap`` and ``alpha``.
        pool: of the network's head.

    Attributes:
        written: pages so far.
    """

    def __init__(self, folder: Path, count: int, options: PredictOptions, pool: str = "gap"):
        self.folder, self.count, self.options = folder, count, options
        self.size = options.montage.images
        self.pages = options.montage.pages
        self.written = 0
        self.made = describe_maps(options.cam, pool)
        self._open: dict[int, dict[int, list[Image.Image] | None]] = {}
        self._lock = Lock()

    def add(self, index: int, image: Explanation | None) -> None:
        """The result of one input, or ``None`` where it was skipped; several threads may call at once."""
        if not self.size or (self.pages is not None and index >= self.pages * self.size):
            return
        style = self.options.montage.tile, self.options.colormap, self.options.alpha
        row = None if image is None else montage_row(image, *style, build_normalisation(self.options.cam))
        page = index // self.size
        with self._lock:
            rows = self._open.setdefault(page, {})
            rows[index] = row
            if len(rows) < min(self.size, self.count - page * self.size):
                return
            del self._open[page]
        if tiles := [tiles for _, tiles in sorted(rows.items()) if tiles is not None]:
            write_montage(self.folder / f"montage_{page + 1:04d}.png", tiles, self.made)
            with self._lock:
                self.written += 1


def montage_row(
    image: Explanation, tile: int, colormap: str, alpha: float, normalisation: Normalisation = MIN_MAX, most: int = 5
) -> list[Image.Image]:
    """The photograph and at most ``most`` maps over it, captioned, for a montage."""
    small = resize_longer_side(Image.fromarray(image.pixels), tile)
    row = [add_caption(small, [image.path.name, ""], size=12)]
    for label, cam in list(zip(image.labels, image.maps, strict=True))[:most]:
        heat = upsample(torch.from_numpy(cam)[None, None], (small.height, small.width))[0, 0].numpy()
        picture = Image.fromarray(overlay(np.asarray(small), heat, colormap, alpha, normalisation))
        row.append(add_caption(picture, [image.classes[label], f"p = {image.probabilities[label]:.3f}"], size=12))
    return row


def write_montage(path: Path, rows: Sequence[Sequence[Image.Image]], made: str = "") -> None:
    """One page: an image a row; short rows stand in several columns."""
    columns = max(1, 8 // max(len(row) for row in rows))
    lines = [[tile for row in rows[start : start + columns] for tile in row] for start in range(0, len(rows), columns)]
    save_png(path, grid(lines), made)
