"""The boxes of a map's connected parts at every threshold, from one pass over its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_FINEST = 32000  # fits 16 bits
_AROUND = np.array([[-1, -1], [-1, 0], [-1, 1], [0, 0], [1, -1], [1, 0], [1, 1]])  # itself, and the rows beside it


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

    Every pixel belongs to the hill (local maximum) to which an ascent from it leads. At a threshold, what is left
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
    there = np.flatnonzero(alive)
    found = boxes.reshape(4, -1).take(there, axis=1)
    found[2:] *= -1
    return Components(there % (steps + 1), found.T, areas.ravel().take(there), steps)


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
    """The number of each pixel's hill, ``(H, W)``, and how many hills there are.

    Along its row every pixel ascends to a peak of that row, over a slope of pixels one after the other; only the few
    peaks, no longer all pixels, then look at the rows above and below. Of equal heights the later counts as higher.
    """
    height, width = heights.shape
    rising = np.zeros((height, width + 1), bool)  # from a pixel's left neighbour to it; into each row, not out of it
    rising[:, 0] = True
    np.greater_equal(heights[:, 1:], heights[:, :-1], out=rising[:, 1:-1])
    left, right = rising[:, :-1], rising[:, 1:]
    peaks = np.flatnonzero(left > right)
    valleys = right > left
    valleys[:, 0] = True
    slopes = np.flatnonzero(valleys)  # where each begins; as many as peaks

    stride = width + 2
    framed = np.full((height + 2, stride), -1, np.int64)  # a border, lower than all
    framed[1:-1, 1:-1] = heights
    row, column = np.divmod(peaks, width)
    places = (row + 1) * stride + column + 1 + _AROUND @ np.array([[stride], [1]])
    highest = places[(framed.take(places) * framed.size + places).argmax(0), np.arange(len(peaks))]
    ascent = np.searchsorted(slopes, (highest // stride - 1) * width + highest % stride - 1, side="right") - 1
    tops = np.flatnonzero(ascent == np.arange(len(peaks)))
    while not np.array_equal(further := ascent.take(ascent), ascent):  # each round doubles the ascent
        ascent = further
    number = np.zeros(len(peaks), np.int16 if len(tops) < 2**15 else np.int32)  # half the bytes, half the time
    number[tops] = np.arange(len(tops))
    return np.repeat(number.take(ascent), np.diff(slopes, append=heights.size)).reshape(height, width), len(tops)


def _extents(
    hills: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int, steps: int
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Of each hill at each level: x0, y0, -x1, -y1 ``(4, count, steps + 1)`` and its area ``(count, steps + 1)``."""
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
    # a pixel of a level is there at all lower ones
    boxes = np.minimum.accumulate(sides.reshape(4, count, steps + 1)[..., ::-1], axis=-1)[..., ::-1]
    return np.ascontiguousarray(boxes), here[:, ::-1].cumsum(1, dtype=np.int32)[:, ::-1].copy()


def _begins(hills: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
    """Where in its row a run of one hill begins, ``(H, W)``."""
    begins = np.ones(hills.shape, bool)
    np.not_equal(hills[:, 1:], hills[:, :-1], out=begins[:, 1:])
    return begins


def _passes(
    hills: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The pairs of neighbouring hills ``(E, 2)`` and the levels of their highest passes, from high to low."""
    width = hills.shape[1]
    flat_hills, flat_levels = hills.ravel(), levels.ravel()
    across, down, square = np.zeros((3, *hills.shape), bool)
    np.not_equal(hills[:, 1:], hills[:, :-1], out=across[:, :-1])
    np.not_equal(hills[1:], hills[:-1], out=down[:-1])
    # neighbours over a corner can only differ where the square of the two is not all one hill
    square[:-1, :-1] = across[:-1, :-1] | down[:-1, :-1] | down[:-1, 1:]
    corners = np.flatnonzero(square)
    pairs, heights = [], []
    for one, step in (
        (np.flatnonzero(across), 1),
        (np.flatnonzero(down), width),
        (corners, width + 1),
        (corners + 1, width - 1),
    ):
        other = one + step
        a, b = flat_hills[one].astype(np.int64), flat_hills[other].astype(np.int64)
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        heights.append(np.minimum(flat_levels[one], flat_levels[other]))
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
    root = list(range(len(areas)))

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
        np.minimum(boxes[:, a, below], boxes[:, b, below], out=boxes[:, a, below])
        areas[a, below] += areas[b, below]
        alive[b, below] = False
