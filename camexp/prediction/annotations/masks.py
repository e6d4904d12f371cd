"""Masks as PNG: each pixel the number of its class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.files import save_png
from camexp.prediction.annotations.format import Format, write_lines
from camexp.prediction.annotations.objects import AnnotatedImage


def class_mask(image: AnnotatedImage, classes: int) -> NDArray[np.uint8 | np.uint16]:
    """0 where there is no object, and the label + 1 where there is one; of several the most probable.

    Args:
        classes: how many there are: up to 255 need a byte a pixel, more need two.

    Returns:
        ``(H, W)``.
    """
    pixels = np.zeros(image.size, np.uint8 if classes <= 255 else np.uint16)
    for one in sorted(image.objects, key=lambda one: one.score):
        x0, y0, x1, y1 = one.part.box
        pixels[y0 : y1 + 1, x0 : x1 + 1][one.part.mask] = one.label + 1
    return pixels


def palette() -> bytes:
    """The colours of the Pascal VOC masks, in which neighbouring classes look different; 256 times RGB.

    >>> list(palette()[:9])
    [0, 0, 0, 128, 0, 0, 0, 128, 0]
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), int)
    for bit in range(8):  # the lowest three bits give red, green and blue their highest bits, the next three the next
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * bit + channel) & 1) << (7 - bit)
    return colours.astype(np.uint8).tobytes()


class MaskFormat(Format):
    """``PATH/IMAGE.png``, and ``classes.txt``, whose line k, from 0, names the class of the pixels k."""

    def begin(self) -> None:
        write_lines(self.folder / "classes.txt", ["background", *self.classes])

    def write(self, image: AnnotatedImage) -> Any:
        mask = Image.fromarray(class_mask(image, len(self.classes)))
        if mask.mode == "L":
            mask.putpalette(palette())
        save_png(self.path(image, ".png"), mask)
