"""What a page holds of an image: its photograph, its logits, its maps at the network's resolution, a byte a value."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.reporting.figures import resize_longer_side


def pack_maps(maps: NDArray[np.floating]) -> dict[str, Any]:
    """Maps in 8 bits each over its own range: the error is at most a 510th of the range.

    Args:
        maps: ``(K, h, w)``, of any sign.

    Returns:
        ``shape``, ``low`` and ``high`` ``(K,)``, and ``data``, base64 of ``K·h·w`` bytes.

    Raises:
        ValueError: values that are not finite.

    >>> packed = pack_maps(np.array([[[-1.0, 0.0, 1.0]]]))
    >>> packed["shape"], packed["low"], packed["high"], unpack_maps(packed).round(2).tolist()
    ([1, 1, 3], [-1.0], [1.0], [[[-1.0, 0.0, 1.0]]])
    """
    if not np.isfinite(maps).all():
        raise ValueError("a map with values that are not finite cannot be shown")
    low, high = maps.min((1, 2)), maps.max((1, 2))
    span = np.where(high > low, high - low, 1)
    levels = ((maps - low[:, None, None]) / span[:, None, None] * 255 + 0.5).astype(np.uint8)
    return {"shape": list(maps.shape), "low": _short(low), "high": _short(high), "data": _base64(levels)}


def unpack_maps(packed: dict[str, Any]) -> NDArray[np.float32]:
    """What :func:`pack_maps` packed, as the page reads it: ``(K, h, w)`` float32."""
    levels = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])
    low, high = (np.array(packed[name])[:, None, None] for name in ("low", "high"))
    return (low + levels * ((high - low) / 255)).astype(np.float32)


def photograph(image: Image.Image, longer_side: int, quality: int = 85) -> str:
    """A JPEG as a ``data:`` address, its longer side at most ``longer_side`` pixels."""
    small = resize_longer_side(image, longer_side) if max(image.size) > longer_side else image
    file = io.BytesIO()
    small.convert("RGB").save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def item(
    name: str, path: str, size: tuple[int, int], photo: str, logits: NDArray[np.floating], maps: NDArray[np.floating],
    labels: Sequence[int] | NDArray[np.integer], truth: int | None = None,
    boxes: Sequence[Sequence[int]] = (), **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """One image of a page, as JSON.

    Args:
        name, path: what is shown, and what is searched.
        size: ``(H, W)`` of the photograph in its own pixels, in which boxes are counted.
        photo: see :func:`photograph`.
        logits: ``(C,)`` of all classes.
        maps, labels: ``(K, h, w)`` raw maps and whose they are.
        truth: the true class, where it is known.
        boxes: true boxes ``(x0, y0, x1, y1)``, corners inclusive.
        more: further values of a page's own; ``area``, the share of the image that the map's box covers, can be
            sorted by.
    """
    best = int(np.argmax(logits))
    share = float(1 / np.exp(np.asarray(logits, np.float64) - logits[best]).sum())
    return {
        "name": name, "path": path, "size": list(size), "photo": photo, "logits": _base64(logits.astype("<f4")),
        "maps": pack_maps(maps), "labels": [int(label) for label in labels],
        "truth": None if truth is None else int(truth), "boxes": [[int(side) for side in box] for box in boxes],
        "best": best, "p": float(f"{share:.6g}"), **more,
    }  # fmt: skip


def meta(
    classes: Sequence[str], identity: bool, note: str, colormap: str = "jet", opacity: float = 0.5,
    threshold: float = 0.2,
) -> dict[str, Any]:  # fmt: skip
    """What all images of a page share.

    Args:
        classes: in the order of the logits.
        identity: whether a map's mean is its class's logit, as for CAM without bias.
        note: how the maps were made, in a sentence.
        colormap, opacity, threshold: what the viewer begins with.
    """
    return {
        "classes": list(classes), "identity": identity, "note": note, "colormap": colormap, "opacity": opacity,
        "threshold": threshold,
    }  # fmt: skip


def _base64(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
