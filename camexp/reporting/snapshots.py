"""The pictures of one fixed image in training: snapshots, the strip of their evolution, the animation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from camexp.cam.colour import overlay
from camexp.cam.maps import upsample
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.files import atomic_write
from camexp.images import open_image
from camexp.reporting.figures import add_caption, add_colour_bar, grid, resize_longer_side

TILE = 240
TEXT = 14  # the height of the captions' letters in pixels


@dataclass(frozen=True)
class Panel:
    """One inspected image with the map of one class.

    Attributes:
        image: the photograph, upright RGB.
        cam: the raw map ``(h, w)``.
        class_name: whose map it is.
        probability: what the network gives that class, in [0, 1].
        predicted: the class it would choose.
    """

    image: Image.Image
    cam: NDArray[np.float32]
    class_name: str
    probability: float
    predicted: str

    def heat(self, colormap: str, alpha: float, normalisation: Normalisation = MIN_MAX) -> Image.Image:
        """The map over the photograph, scaled for a tile."""
        small = resize_longer_side(self.image, TILE)
        size = small.height, small.width
        cam = upsample(torch.from_numpy(self.cam)[None, None], size)[0, 0].numpy()
        return Image.fromarray(overlay(np.asarray(small), cam, colormap, alpha, normalisation))


def snapshot(
    panels: Sequence[Panel], step: int, colormap: str = "jet", alpha: float = 0.5, columns: int = 4, text: int = TEXT,
    normalisation: Normalisation = MIN_MAX,
) -> Image.Image:  # fmt: skip
    """The maps of one step side by side, ``columns`` in a row, with colour bars, class, probability and step."""
    tiles = []
    for panel in panels:
        low, high = (float(limit) for limit in normalisation.limits(torch.from_numpy(panel.cam)))
        heat = add_colour_bar(panel.heat(colormap, alpha, normalisation), low, high, colormap, text)
        lines = [f"{panel.class_name}  p = {panel.probability:.3f}", f"predicted: {panel.predicted}"]
        tiles.append(add_caption(heat, lines, text))
    return grid(_wrapped(tiles, columns), title=f"step {step}", size=round(1.2 * text))


def snapshot_card(panels: Sequence[Panel], step: int, **style: Any) -> Image.Image:
    """:func:`snapshot` to be read at 300 pixels of width, as TensorBoard shows it."""
    return snapshot(panels, step, **style, columns=2, text=20 if len(panels) == 1 else 28)


def evolution(
    history: Sequence[tuple[int, Sequence[Panel]]],
    most: int = 7,
    colormap: str = "jet",
    alpha: float = 0.5,
    columns: int | None = None,
    text: int = TEXT,
    normalisation: Normalisation = MIN_MAX,
) -> Image.Image:
    """A strip for each inspected map: the photograph, then its map after chosen steps.

    Args:
        history: ``(step, panels)`` in the order of the steps, the same panels each time.
        most: how many steps to show: the first, the last, and more of the early ones between, when
            maps change fastest.
        colormap, alpha, normalisation: of the overlay.
        columns: tiles in a row, after which the strip goes on below; ``None``: all.
        text: the height of the captions' letters in pixels.
    """
    chosen = [history[index] for index in select_steps(len(history), most)]
    rows: list[Sequence[Image.Image]] = []
    for number, first in enumerate(history[0][1]):
        row = [add_caption(resize_longer_side(first.image, TILE), [first.class_name, ""], text)]
        for step, panels in chosen:
            panel = panels[number]
            heat = panel.heat(colormap, alpha, normalisation)
            row.append(add_caption(heat, [f"step {step}", f"p = {panel.probability:.3f}"], text))
        rows += _wrapped(row, columns or len(row))
    return grid(rows)


def evolution_card(history: Sequence[tuple[int, Sequence[Panel]]], **style: Any) -> Image.Image:
    """:func:`evolution` in rows of four tiles, to be read at 300 pixels of width, as TensorBoard shows it."""
    return evolution(history, **style, columns=4, text=36)


def _wrapped(tiles: Sequence[Image.Image], columns: int) -> list[Sequence[Image.Image]]:
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def select_steps(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` indices, both ends among them, denser at the beginning.

    >>> select_steps(3, 7), select_steps(40, 7)
    ([0, 1, 2], [0, 1, 4, 10, 17, 27, 39])
    """
    if count <= most:
        return list(range(count))
    indices = ((np.linspace(0, 1, most) ** 2) * (count - 1)).round().astype(int)
    return sorted(set(indices.tolist()))


def write_animation(path: Path, pictures: Sequence[Path], most: int = 100) -> None:
    """A GIF of the snapshots, the last one held; at most ``most`` of them."""
    indices = np.unique(np.linspace(0, len(pictures) - 1, min(len(pictures), most)).round().astype(int))
    opened = [open_image(pictures[index]).convert("RGB") for index in indices]
    # the colour bar's numbers move its width by a few pixels: every frame on the same sheet
    size = max(frame.width for frame in opened), max(frame.height for frame in opened)
    frames = []
    for frame in opened:
        sheet = Image.new("RGB", size, (255, 255, 255))
        sheet.paste(frame)
        # dithered: no bands in the heat; and thirty times as fast as a median cut, which takes half a second each
        frames.append(sheet.quantize(palette=sheet.quantize(128, Image.Quantize.FASTOCTREE)))
    with atomic_write(path) as temporary:
        frames[0].save(
            temporary,
            save_all=True,
            append_images=frames[1:],
            loop=0,
            duration=[350] * (len(frames) - 1) + [2500],
        )
