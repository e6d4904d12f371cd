"""Any image file as an upright RGB picture."""

from __future__ import annotations

import os
import stat
import warnings
from functools import lru_cache

from PIL import Image

from camexp.rgb import upright_rgb

# Ghostscript would be started for PostScript; the others are stubs without a decoder, or films.
_NO_PHOTOGRAPHS = ("EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5")


def ignore_pillow_warnings() -> None:
    """Odd EXIF tags and large sizes are no news to the user here.

    For the whole process and once, when this file is imported: images are read in threads, and one that would
    restore the filters after each image would take other threads' away.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")


ignore_pillow_warnings()


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


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode a file: its first frame, turned upright by its EXIF tag, in 8-bit RGB.

    See :func:`camexp.rgb.upright_rgb` for what becomes of the other modes.

    Raises:
        UnreadableImage: the file cannot be decoded as a whole.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError("no regular file")  # who opens a pipe waits for ever
        with Image.open(path) as image:
            image.load()
            return upright_rgb(image)
    except Exception as error:  # Pillow's decoders raise all there is; each means the same here
        told = str(error).replace(f" '{os.fspath(path)}'", "").replace(f": {os.fspath(path)!r}", "")
        raise UnreadableImage(" ".join(told.split()) or type(error).__name__) from error
