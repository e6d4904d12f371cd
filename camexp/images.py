"""Any image file as an upright RGB picture."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from camexp.errors import reason

# Ghostscript would be started for PostScript; the others are stubs without a decoder, or films.
_NO_PHOTOGRAPHS = ("EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5")
_COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM")  # whose decoders Pillow has at hand


def ignore_pillow_warnings() -> None:
    """Odd EXIF tags and large sizes are no news to the user here.

    For the whole process and once, when this file is imported: images are read in threads, and one that would
    restore the filters after each image would take other threads' away.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


ignore_pillow_warnings()

# EXIF orientations 2 to 8: what turns the pixels upright.
_TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


class UnreadableImage(OSError):
    """An image file that cannot be decoded; its text is the reason."""


@lru_cache
def image_extensions() -> frozenset[str]:
    """The endings, in lower case with their dot, of all that Pillow can read.

    >>> {".jpg", ".png", ".gif", ".tif", ".webp"} <= image_extensions()
    True
    """
    endings = Image.registered_extensions()
    return frozenset(end for end, kind in endings.items() if kind in Image.OPEN and kind not in _NO_PHOTOGRAPHS)


def open_image(file: str | os.PathLike[str] | BytesIO) -> Image.Image:
    """As ``PIL.Image.open``, but for formats that are no photographs: whatever a file's name, its content alone would
    have Pillow start Ghostscript for PostScript.

    Raises:
        OSError: it is no image, or one of those.
    """
    try:
        return Image.open(file, formats=_COMMON)
    except UnidentifiedImageError:
        Image.init()  # imports the decoders of all other formats
        return Image.open(file, formats=[kind for kind in Image.OPEN if kind not in _NO_PHOTOGRAPHS])


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode a file: its first frame, turned upright by its EXIF tag, in 8-bit RGB.

    See :func:`to_rgb` for what becomes of the other modes.

    Raises:
        UnreadableImage: the file cannot be decoded as a whole.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("no regular file")  # who opens a pipe waits for ever
        with open_image(path) as image:
            image.load()
            return to_rgb(image)
    except Exception as error:  # Pillow's decoders raise all there is; each means the same here
        told = str(error).replace(f" '{os.fspath(path)}'", "").replace(f": {os.fspath(path)!r}", "")
        raise UnreadableImage(" ".join(told.split()) or type(error).__name__) from error


def decode_image(content: bytes) -> Image.Image:
    """As :func:`read_image`, from the bytes of a file.

    Raises:
        UnreadableImage: they cannot be decoded as a whole.

    >>> decode_image(b"no image")
    Traceback (most recent call last):
    ...
    camexp.images.UnreadableImage: cannot identify image file
    """
    try:
        with open_image(BytesIO(content)) as image:
            image.load()
            return to_rgb(image)
    except Exception as error:  # Pillow's decoders raise all there is; each means the same here
        told = str(error).partition(" <_io.BytesIO")[0]
        raise UnreadableImage(" ".join(told.split()) or type(error).__name__) from error


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Width and height of an image file as :func:`read_image` returns it, without decoding it.

    Raises:
        OSError: it is no image.
    """
    (width, height), orientation = stored_frame(path)
    return (height, width) if orientation >= 5 else (width, height)  # shown turned by a quarter


def stored_frame(path: str | os.PathLike[str]) -> tuple[tuple[int, int], int]:
    """Width and height of an image file as it is stored, and its EXIF tag 1 to 8, by which it is turned upright; 1: it
    stands so.

    Raises:
        OSError: it is no image.
    """
    with open_image(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        return image.size, orientation if orientation in _TURNS else 1


def read_mask(file: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """The pixels ``(H, W)`` of an image that are not 0: of a coloured one in any channel, of one with a palette by the
    number in it, whatever their opacity.

    Raises:
        UnreadableImage: the file cannot be decoded as a whole.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.fromarray(np.array([[[0, 0, 0], [0, 0, 1]]], np.uint8)).save(f"{folder}/a.png")
    ...     read_mask(f"{folder}/a.png")
    array([[False,  True]])
    """
    try:
        with open_image(file) as image:
            opaque = {"LA": "L", "La": "L", "PA": "P", "RGBA": "RGB", "RGBa": "RGB", "RGBX": "RGB"}.get(image.mode)
            colour = image.mode in ("CMYK", "YCbCr", "LAB", "HSV")  # in which black is not 0
            pixels = np.asarray(image.getchannel(0) if opaque in ("L", "P") else
                                image.convert("RGB") if opaque or colour else image)  # fmt: skip
    except Exception as error:  # Pillow's decoders raise all there is; each means the same here
        raise UnreadableImage(reason(error)) from error
    return (pixels if pixels.ndim == 2 else pixels.any(2)) != 0


def read_pixels(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """The bytes of :func:`read_image`, ``(H, W, 3)`` RGB.

    Colour JPEGs are decoded by simplejpeg where it is installed: the same bytes, but Pillow needs as long again to hand
    12 megapixels over. What simplejpeg does not take in silence is left to Pillow, which reads it or says why not.

    Raises:
        UnreadableImage: the file cannot be decoded as a whole.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (48, 32), "white").save(f"{folder}/a.jpg")
    ...     read_pixels(f"{folder}/a.jpg").shape
    (32, 48, 3)
    """
    pixels = _by_simplejpeg(path)
    return np.asarray(read_image(path)) if pixels is None else pixels


def _by_simplejpeg(path: str | os.PathLike[str]) -> NDArray[np.uint8] | None:
    decode = _simplejpeg()
    if decode is None or not os.path.isfile(path):
        return None
    try:
        with open_image(path) as image:  # the header alone, with Pillow's limit to the size
            if image.format != "JPEG" or image.mode != "RGB":
                return None
            turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        with open(path, "rb") as file:
            pixels = decode(file.read())
    except Exception:  # whatever it is, Pillow judges the file
        return None
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


@lru_cache
def _simplejpeg() -> Callable[[bytes], NDArray[np.uint8]] | None:
    try:
        from simplejpeg import decode_jpeg
    except ImportError:
        return None
    return decode_jpeg


def to_rgb(image: Image.Image) -> Image.Image:
    """An image turned upright by its EXIF tag, in 8-bit RGB.

    Greyscale, palette, CMYK and YCbCr are converted; 16-bit greys are scaled by their full range, 32-bit and
    floating-point ones by their own; what is transparent stands on white.

    >>> sixteen = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    >>> [to_rgb(sixteen).getpixel((x, 0))[0] for x in range(3)]
    [0, 128, 255]
    """
    return _convert(ImageOps.exif_transpose(image))


def _convert(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode == "F":
        return _min_max(np.nan_to_num(np.asarray(image, dtype=np.float64)))
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.max(initial=0) > 65535 or levels.min(initial=0) < 0:
            return _min_max(levels.astype(np.float64))
        # Pillow opens many a 16-bit file as 32-bit
        levels = levels >> 8 if levels.max(initial=0) > 255 or image.mode.startswith("I;16") else levels
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        straight = image.convert("RGBA")
        white = Image.new("RGBA", straight.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, straight).convert("RGB")
    return image.convert("RGB")


def _min_max(grey: np.ndarray) -> Image.Image:
    span = float(np.ptp(grey)) or 1.0
    return Image.fromarray(((grey - grey.min()) / span * 255).astype(np.uint8)).convert("RGB")
