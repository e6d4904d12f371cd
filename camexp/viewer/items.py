"""What a page holds of an image: its photograph, its logits, its maps at the network's resolution, a byte a value."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from camexp.cam.normalisation import MIN_MAX, Normalisation


def pack_maps(maps: NDArray[np.floating], normalisation: Normalisation = MIN_MAX) -> dict[str, Any]:
    """Maps in 8 bits each over its own range: the error is at most a 510th of the range.

    Args:
        maps: ``(K, h, w)``, of any sign.
        normalisation: what the first and the last colour mean where each map is shown by itself.

    Returns:
        ``shape``, ``low`` and ``high`` ``(K,)``, and ``data``, base64 of ``K·h·w`` bytes; with another normalisation
        than the one by minimum and maximum ``limits`` too, two a map.

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
    packed = {"shape": list(maps.shape), "low": _short(low), "high": _short(high), "data": as_base64(levels)}
    if normalisation == MIN_MAX:
        return packed
    limits = np.stack([one.numpy().ravel() for one in normalisation.limits(torch.from_numpy(np.asarray(maps)))], 1)
    return {**packed, "limits": [_short(pair) for pair in limits]}


def unpack_maps(packed: dict[str, Any]) -> NDArray[np.float32]:
    """What :func:`pack_maps` packed, as the page reads it: ``(K, h, w)`` float32."""
    levels = np.frombuffer(base64.b64decode(packed["data"]), np.uint8).reshape(packed["shape"])
    low, high = (np.array(packed[name])[:, None, None] for name in ("low", "high"))
    return (low + levels * ((high - low) / 255)).astype(np.float32)


def pack_mask(mask: NDArray[np.bool_]) -> str:
    """A mask as the lengths of its runs, row after row, off and on by turns, as base64 of little-endian uint32.

    Args:
        mask: ``(H, W)``.

    >>> np.frombuffer(base64.b64decode(pack_mask(np.array([[0, 1, 1], [1, 0, 0]], bool))), "<u4").tolist()
    [1, 3, 2]
    """
    flat = np.asarray(mask, bool).ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=False))  # a mask that begins on has an empty run first
    return as_base64(np.diff(changes, prepend=0, append=len(flat)).astype("<u4"))


def explained(
    logits: NDArray[np.floating], maps: NDArray[np.floating], labels: Sequence[int] | NDArray[np.integer],
    normalisation: Normalisation = MIN_MAX,
) -> dict[str, Any]:  # fmt: skip
    """What a network says of an image.

    Args:
        logits: ``(C,)`` of all classes.
        maps, labels: ``(K, h, w)`` raw maps and whose they are.
        normalisation: see :func:`pack_maps`.

    Returns:
        The same packed; ``best``, the predicted class, and ``p``, its probability.
    """
    best = int(np.argmax(logits))
    share = float(1 / np.exp(np.asarray(logits, np.float64) - logits[best]).sum())
    return {
        "logits": as_base64(logits.astype("<f4")), "maps": pack_maps(maps, normalisation),
        "labels": [int(label) for label in labels],
        "best": best, "p": float(f"{share:.6g}"),
    }  # fmt: skip


def is_finite(logits: NDArray[np.floating], maps: NDArray[np.floating]) -> bool:
    """Whether a page can show them: half precision may overflow.

    >>> is_finite(np.zeros(2), np.full((1, 2, 2), np.inf))
    False
    """
    return bool(np.isfinite(logits).all() and np.isfinite(maps).all())


def item(
    name: str, path: str, size: tuple[int, int], photo: str, logits: NDArray[np.floating], maps: NDArray[np.floating],
    labels: Sequence[int] | NDArray[np.integer], truth: int | None = None,
    boxes: Sequence[Sequence[int]] = (), normalisation: Normalisation = MIN_MAX, **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """One image of a page, as JSON.

    Args:
        name, path: what is shown, and what is searched.
        size: ``(H, W)`` of the photograph in its own pixels, in which boxes are counted.
        photo: see :func:`photograph`.
        logits, maps, labels, normalisation: see :func:`explained`.
        truth: the true class, where it is known.
        boxes: true boxes ``(x0, y0, x1, y1)``, corners inclusive.
        more: further values of a page's own; ``area``, the share of the image that the map's box covers, can be
            sorted by.
    """
    return {
        "name": name, "path": path, "size": list(size), "photo": photo,
        **explained(logits, maps, labels, normalisation),
        "truth": None if truth is None else int(truth), "boxes": [[int(side) for side in box] for box in boxes], **more,
    }  # fmt: skip


def meta(
    classes: Sequence[str], identity: bool, what: str = "Raw maps", colormap: str = "jet", opacity: float = 0.5,
    threshold: float = 0.2, normalisation: Normalisation = MIN_MAX,
) -> dict[str, Any]:  # fmt: skip
    """What all images of a page share.

    Args:
        classes: in the order of the logits.
        identity: whether a map's mean is its class's logit, as for CAM without bias.
        what: the maps are, in a few words.
        colormap, opacity, threshold: what the viewer begins with.
        normalisation: of each map by itself; with another one than by minimum and maximum, maps are shown so at first.
    """
    return {
        "classes": list(classes), "identity": identity, "note": f"{what}.", "colormap": colormap, "opacity": opacity,
        "threshold": threshold, **({} if normalisation == MIN_MAX else {"scale": "map"}),
    }  # fmt: skip


def as_base64(array: NDArray[Any]) -> str:
    """An array's bytes as text."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
