"""How much of an image a page holds, so that it can be sent: the size of its photograph, the maps of which classes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from PIL import Image

from camexp.reporting.figures import resize_longer_side

FEW = 100  # images of a page that may have large photographs
LARGE, SMALL = 960, 320  # pixels of the longer side
TOP = 5
MANY_CLASSES = 1000  # the maps of more would take as long as the network


def all_or_top(classes: Sequence[str]) -> str:
    """Which maps of an image a page may hold: those of all classes, or of the most probable ones.

    >>> all_or_top(["duck", "llama"])
    'all'
    """
    return "all" if len(classes) <= MANY_CLASSES else f"top{TOP}"


def page_photograph(image: Image.Image, count: int) -> str:
    """A photograph as one of ``count`` images of a page: few of them are shown larger."""
    return photograph(image, LARGE) if count <= FEW else photograph(image, SMALL, quality=75)


def photograph(image: Image.Image, longer_side: int = LARGE, quality: int = 85) -> str:
    """A JPEG as a ``data:`` address, its longer side at most ``longer_side`` pixels."""
    small = resize_longer_side(image, longer_side) if max(image.size) > longer_side else image
    file = io.BytesIO()
    small.convert("RGB").save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
