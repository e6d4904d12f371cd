"""The boxes of a map's connected parts at every threshold, from one pass over its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FINEST = 32000  # times 2**16 still fits 31 bits
_HALF = ((0, 1), (1, -1), (1, 0), (1, 1))  # each pair of neighbours once


@dataclass(frozen=True)
class Components:
    """The connected parts of a map at every level, a row a part and level.

    Attributes:
        levels: ``(N,)`` the level of each row.
        boxes: ``(N, 4)`` x0, y0, x1, y1 in pixels, corners inclusive.
        areas: ``(N,)`` in pixels.
        steps: the highest level; level k is the threshold k / steps.
    """

    levels: NDArray[np.intp]
    boxes: NDArray[np.int16]
    areas: NDArray[np.int32]
    steps: int

    def largest(self) -> Components:
        """The part of most pixels at each level."""
        order = np.lexsort((-self.areas, self.levels))
        levels = self.levels[order]
        first = order[np.concatenate(([True], levels[1:] != levels[:-1]))]
        return Components(self.levels[first], self.boxes[first], self.areas[first], self.steps)

    def at(self, level: int) -> Components:
        """The parts at one level."""
        chosen = self.levels == level
        return Components(self.levels[chosen], self.boxes[chosen], self.areas[chosen], self.steps)


def components(cam: NDArray[np.floating], steps: int = 1000) -> Components:
    """The 8-connected parts of ``cam >= t`` for t = 0, 1/steps, …, 1.

    Every pixel belongs to the hill (local maximum) to which its steepest ascent leads. At a threshold, what is left
    of a hill is connected, because the ascent only passes higher pixels; two hills are connected where a pair of
    neighbours, one of each, lies above it. So the parts at all thresholds are unions of hills, joined from the
    highest pass to the lowest, as in Kruskal's algorithm: the component tree (Najman and Couprie, *Building the
    component tree in quasi-linear time*, IEEE TIP 2006) with hills for leaves. A map's few dozen hills are all
    that is looped over.

    Args:
        cam: ``(H, W)``, in [0, 1], as :func:`camexp.cam.maps.min_max` makes it.
        steps: how many thresholds above 0; at most 32,000.

    Raises:
        ValueError: another shape, or values outside [0, 1] or not finite.

    >>> cam = np.zeros((5, 9), np.float32)
    >>> cam[1:4, 1:3], cam[2, 5:9] = 1.0, 0.5
    >>> found = components(cam, steps=4)
    >>> [sorted(found.at(level).boxes.tolist()) for level in (4, 2, 0)]
    [[[1, 1, 2, 3]], [[1, 1, 2, 3], [5, 2, 8, 2]], [[0, 0, 8, 4]]]
    """
    if cam.ndim != 2 or not cam.size:
        raise ValueError(f"a map (H, W) is expected, got shape {cam.shape}")
    if not (cam.min() >= 0 and cam.max() <= 1):
        raise ValueError(f"a map in [0, 1] is expected, got {cam.min()} to {cam.max()}")
    heights = quantised(cam, steps)
    levels = (heights // (_FINEST // steps)).astype(np.int16)
    hills, count = _hills(heights)
    boxes, areas = _extents(hills, levels, count, steps)
    alive = areas > 0
    _join(boxes, areas, alive, *_passes(hills, levels, count))
    rows, at = np.nonzero(alive)
    found = boxes[rows, :, at]
    found[:, 2:] *= -1
    return Components(at, found, areas[rows, at], steps)


def quantised(cam: NDArray[np.floating], steps: int) -> NDArray[np.int32]:
    """A map in [0, 1] in steps of about 1/32000, a whole number of them to a level.

    >>> quantised(np.array([0.0, 0.25, 1.0]), steps=4)
    array([    0,  8000, 32000], dtype=int32)
    """
    scale = np.float32(_FINEST // steps * steps)
    return (np.ascontiguousarray(cam, dtype=np.float32) * scale).astype(np.int32)


def largest_box(cam: NDArray[np.floating], level: int, steps: int = 1000) -> NDArray[np.int16] | None:
    """The box of the largest part at one level, as :func:`components` would find it; ``None`` without any.

    >>> largest_box(np.eye(3), level=1, steps=2)
    array([0, 0, 2, 2], dtype=int16)
    """
    above = quantised(cam, steps) >= level * (_FINEST // steps)
    parts, count = ndimage.label(above, structure=np.ones((3, 3)))
    if not count:
        return None
    largest = int(np.bincount(parts.ravel())[1:].argmax())
    rows, columns = ndimage.find_objects(parts)[largest]
    return np.array([columns.start, rows.start, columns.stop - 1, rows.stop - 1], np.int16)


def _hills(heights: NDArray[np.int32]) -> tuple[NDArray[np.signedinteger], int]:
    """The number of each pixel's hill, ``(H, W)``, and how many hills there are."""
    height, width = heights.shape
    # A pixel's number below its height settles ties: of equal ones the later counts as the higher. Up to 256×256
    # pixels both fit 32 bits, whose maximum is far quicker than that of 64.
    bits = 16 if heights.size <= 2**16 else 40
    ranked: Any = heights.astype(np.int32 if bits == 16 else np.int64)
    ranked <<= bits
    ranked += _numbers(heights.size).reshape(heights.shape).astype(ranked.dtype)
    wide = ranked.copy()  # the highest of each pixel and its neighbours in the row
    np.maximum(wide[:, :-1], ranked[:, 1:], out=wide[:, :-1])
    np.maximum(wide[:, 1:], ranked[:, :-1], out=wide[:, 1:])
    highest = wide.copy()  # and of the rows above and below
    np.maximum(highest[:-1], wide[1:], out=highest[:-1])
    np.maximum(highest[1:], wide[:-1], out=highest[1:])
    up = (highest.ravel() & ((1 << bits) - 1)).astype(np.int64)
    tops = np.flatnonzero(up == _numbers(up.size))
    rounds = 0
    while True:  # each round doubles the ascent: about nine are enough for a smooth map
        further, rounds = up.take(up, mode="clip"), rounds + 1
        if rounds > 5 and np.array_equal(further, up):
            break
        up = further
    number: Any = np.zeros(up.size, np.int16 if len(tops) < 2**15 else np.int32)  # half the bytes, half the time
    number[tops] = np.arange(len(tops))
    return number.take(up, mode="clip").reshape(height, width), len(tops)


def _extents(
    hills: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int, steps: int
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Of each hill at each level: x0, y0, -x1, -y1 ``(count, 4, steps + 1)`` and its area ``(count, steps + 1)``."""
    sides = np.full((4, count * (steps + 1)), np.iinfo(np.int16).max, np.int16)
    for first, hill, level in ((1, hills, levels), (0, hills.T.copy(), levels.T.copy())):
        # In a row, a hill's pixels stand in runs, and the highest of a run stays longest. Where a key comes again
        # the last assignment stays: the largest row (or column), or, backwards, the smallest.
        starts = np.flatnonzero(_begins(hill))
        keys = hill.ravel()[starts].astype(np.int64) * (steps + 1) + np.maximum.reduceat(level.ravel(), starts)
        lines = (starts // hill.shape[1]).astype(np.int16)
        sides[first, keys[::-1]] = lines[::-1]
        sides[first + 2, keys] = -lines
    of_pixels = np.multiply(hills, np.int32(steps + 1), dtype=np.int32)
    of_pixels += levels
    here = np.bincount(of_pixels.ravel(), minlength=count * (steps + 1)).reshape(count, steps + 1)
    by_hill = sides.reshape(4, count, steps + 1).transpose(1, 0, 2)
    # a pixel of a level is there at all lower ones
    boxes = np.minimum.accumulate(by_hill[..., ::-1], axis=-1)[..., ::-1]
    return np.ascontiguousarray(boxes), here[:, ::-1].cumsum(1, dtype=np.int32)[:, ::-1].copy()


def _begins(hills: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
    """Where in its row a run of one hill begins, ``(H, W)``."""
    begins = np.ones(hills.shape, bool)
    np.not_equal(hills[:, 1:], hills[:, :-1], out=begins[:, 1:])
    return begins


@lru_cache(maxsize=16)
def _numbers(count: int) -> NDArray[np.int64]:
    return np.arange(count)


def _passes(
    hills: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The pairs of neighbouring hills ``(E, 2)`` and the levels of their highest passes, from high to low."""
    height, width = hills.shape
    flat_hills, flat_levels = hills.ravel(), levels.ravel()
    pairs, heights = [], []
    for dy, dx in _HALF:
        one = slice(0, height - dy), slice(max(0, -dx), width - max(0, dx))
        other = slice(dy, height), slice(max(0, dx), width - max(0, -dx))
        border = np.zeros((height, width), bool)
        np.not_equal(hills[one], hills[other], out=border[one])
        place = np.flatnonzero(border)
        a, b = flat_hills[place].astype(np.int64), flat_hills[place + (dy * width + dx)]
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        heights.append(np.minimum(flat_levels[place], flat_levels[place + (dy * width + dx)]))
    pair, highest = np.concatenate(pairs), np.concatenate(heights)
    if count <= 1024:
        table = np.full(count * count, -1, np.int16)
        np.maximum.at(table, pair, highest)
        pair = np.flatnonzero(table >= 0)
        highest = table[pair]
    # otherwise a pair may come again: once it is joined, its lower passes change nothing
    order = np.argsort(-highest, kind="stable")
    return np.stack(np.divmod(pair[order], count), 1), highest[order]


def _join(
    boxes: NDArray[np.int16],
    areas: NDArray[np.int32],
    alive: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    heights: NDArray[np.int16],
) -> None:
    """Join hills at their passes, in place: below a pass the one's row stands for both, the other's ends."""
    root = list(range(len(boxes)))

    def find(hill: int) -> int:
        while root[hill] != hill:
            root[hill] = root[root[hill]]
            hill = root[hill]
        return hill

    for (a, b), height in zip(pairs.tolist(), heights.tolist(), strict=True):
        a, b = find(a), find(b)
        if a == b:
            continue
        root[b] = a
        below = slice(0, height + 1)
        np.minimum(boxes[a, :, below], boxes[b, :, below], out=boxes[a, :, below])
        areas[a, below] += areas[b, below]
        alive[b, below] = False
