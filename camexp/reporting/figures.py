"""Tiles with captions and colour bars, and the grids they make: drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from camexp.cam.colour import colour_map

INK, PAPER, GAP = (25, 25, 30), (255, 255, 255), 8


@lru_cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: it has the letters of most alphabets. Without it Pillow's own, of Latin
    letters."""
    spec = find_spec("matplotlib")  # not imported: a file of it is wanted
    if spec is None or spec.origin is None:
        return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    path = Path(spec.origin).with_name("mpl-data") / "fonts" / "ttf" / "DejaVuSans.ttf"
    if not path.is_file():  # where a distribution keeps it elsewhere
        import matplotlib

        path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)


def ellipsize(text: str, size: int, width: int) -> str:
    """The text, cut in its middle where it is wider than ``width`` pixels.

    >>> ellipsize("llama", 14, 200)
    'llama'
    >>> ellipsize("a-very-long-name-of-a-class", 14, 100)
    'a-very…-class'
    """
    letters = font(size)
    text = "".join(letter if letter.isprintable() else "_" for letter in text)  # no line breaks, no lone surrogates
    cut, keep = text, len(text)
    while keep > 0 and letters.getlength(cut) > width:
        keep -= 1
        cut = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
    return cut


def resize_longer_side(image: Image.Image, side: int) -> Image.Image:
    """The image with its longer side at ``side`` pixels."""
    factor = side / max(image.size)
    size = max(1, round(image.width * factor)), max(1, round(image.height * factor))
    return image.resize(size, Image.Resampling.LANCZOS if factor < 1 else Image.Resampling.BICUBIC)


def add_caption(image: Image.Image, lines: Sequence[str], size: int = 14) -> Image.Image:
    """The image with lines of text below it."""
    step = round(size * 1.35)
    tile = Image.new("RGB", (image.width, image.height + step * len(lines) + 4), PAPER)
    tile.paste(image, (0, 0))
    draw = ImageDraw.Draw(tile)
    for number, line in enumerate(lines):
        draw.text((1, image.height + 2 + number * step), ellipsize(line, size, image.width - 2), INK, font(size))
    return tile


def add_colour_bar(
    image: Image.Image, low: float, high: float, colormap: str = "jet", largest: int = 14
) -> Image.Image:
    """The image with a colour bar at its right: the map's lowest, middle and highest value, in letters of at most
    ``largest`` pixels."""
    size = max(10, min(largest, image.height // 12))
    ticks = [f"{value:.3g}" for value in (high, (low + high) / 2, low)]
    room = round(max(font(size).getlength(tick) for tick in ticks)) + 8
    bar = max(8, min(18, image.height // 14))
    tile = Image.new("RGB", (image.width + GAP + bar + room, image.height), PAPER)
    tile.paste(image, (0, 0))
    ramp = np.repeat(np.linspace(255, 0, image.height).round().astype(np.uint8)[:, None], bar, axis=1)
    left = image.width + GAP
    tile.paste(Image.fromarray(colour_map(colormap)[ramp]), (left, 0))
    draw = ImageDraw.Draw(tile)
    for tick, y, anchor in zip(ticks, (0, image.height // 2, image.height - 1), ("la", "lm", "ld"), strict=True):
        draw.text((left + bar + 4, y), tick, INK, font(size), anchor=anchor)
    return tile


def grid(rows: Sequence[Sequence[Image.Image]], title: str = "", size: int = 17) -> Image.Image:
    """Tiles in rows, columns aligned, on white; ``title`` stands above, in letters of ``size`` pixels."""
    columns = max(len(row) for row in rows)
    widths = [max((row[i].width for row in rows if i < len(row)), default=0) for i in range(columns)]
    heights = [max(tile.height for tile in row) for row in rows]
    top = GAP + (round(size * 1.55) if title else 0)
    sheet = Image.new("RGB", (sum(widths) + GAP * (columns + 1), top + sum(heights) + GAP * len(rows)), PAPER)
    if title:
        ImageDraw.Draw(sheet).text((GAP, GAP), ellipsize(title, size, sheet.width - 2 * GAP), INK, font(size))
    y = top
    for row, height in zip(rows, heights, strict=True):
        x = GAP
        for tile, width in zip(row, widths, strict=False):
            sheet.paste(tile, (x, y))
            x += width + GAP
        y += height + GAP
    return sheet
