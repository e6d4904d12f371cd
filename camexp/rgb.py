"""Pictures of any mode as upright 8-bit RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps


def upright_rgb(image: Image.Image) -> Image.Image:
    """An image turned upright by its EXIF tag, in 8-bit RGB.

    Greyscale, palette, CMYK and YCbCr are converted; 16-bit greys are scaled by their full range, 32-bit and
    floating-point ones by their own; what is transparent stands on white.

    >>> sixteen = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    >>> [upright_rgb(sixteen).getpixel((x, 0))[0] for x in range(3)]
    [0, 128, 255]
    """
    return _to_rgb(ImageOps.exif_transpose(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        return _stretched(np.nan_to_num(np.asarray(image, dtype=np.float64)))
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.max(initial=0) > 65535 or levels.min(initial=0) < 0:
            return _stretched(levels.astype(np.float64))
        # Pillow opens many a 16-bit file as 32-bit
        levels = levels >> 8 if levels.max(initial=0) > 255 or image.mode.startswith("I;16") else levels
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        white = Image.new("RGBA", straight.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, straight).convert("RGB")
    return image.convert("RGB")


def _stretched(grey: np.ndarray) -> Image.Image:
    span = float(np.ptp(grey)) or 1.0
    return Image.fromarray(((grey - grey.min()) / span * 255).astype(np.uint8)).convert("RGB")
