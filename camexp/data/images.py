"""Any image file as an upright RGB picture."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache

import numpy as np
from PIL import Image, ImageOps

# What Pillow raises for files that are damaged, of another kind, or bombs.
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError, OverflowError,
              MemoryError, AttributeError, Image.DecompressionBombError)  # fmt: skip


class UnreadableImage(OSError):
    """An image file that cannot be decoded; its text is the reason."""


@lru_cache
def image_extensions() -> frozenset[str]:
    """The endings, in lower case with their dot, of all that Pillow can read.

    >>> {".jpg", ".png", ".gif", ".tif", ".webp"} <= image_extensions()
    True
    """
    endings = Image.registered_extensions()
    # Ghostscript would be started for PostScript; nobody keeps photographs in it
    return frozenset(end for end, kind in endings.items() if kind in Image.OPEN and kind not in ("EPS", "MPEG"))


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode a file: its first frame, turned upright by its EXIF tag, in 8-bit RGB.

    Greyscale, palette, CMYK and YCbCr are converted; 16-bit and 32-bit greys are scaled to their full
    range, floating-point ones to their own; what is transparent stands on white.

    Raises:
        UnreadableImage: the file cannot be decoded as a whole.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd EXIF tags and large sizes are no news to the user here
            with Image.open(path) as image:
                image.load()
                return to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        reason = " ".join(str(error).replace(os.fspath(path), "").split()) or type(error).__name__
        raise UnreadableImage(reason) from error


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB.

    >>> sixteen = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    >>> [to_rgb(sixteen).getpixel((x, 0))[0] for x in range(3)]
    [0, 128, 255]
    """
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        grey = np.nan_to_num(np.asarray(image, dtype=np.float64))
        span = float(np.ptp(grey)) or 1.0
        return Image.fromarray(((grey - grey.min()) / span * 255).astype(np.uint8)).convert("RGB")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        # 32-bit greys are 16-bit ones in disguise (PNG, TIFF), or 8-bit ones
        levels = levels >> 8 if levels.max(initial=0) > 255 or image.mode.startswith("I;16") else levels
        return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        white = Image.new("RGBA", straight.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, straight).convert("RGB")
    return image.convert("RGB")
