"""The parts of a map with few basins: a table of every basin at every level, its rows joined where basins join."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from camexp.evaluation.basins import borders


def basin_table(
    basins: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int, steps: int
) -> tuple[NDArray[np.intp], NDArray[np.int16], NDArray[np.int32]]:
    """The levels ``(N,)``, boxes ``(N, 4)`` and areas ``(N,)`` of all parts at all levels, a row a part and level.

    Args:
        basins: ``(H, W)``, see :func:`camexp.evaluation.basins.find_basins`; count: how many there are.
        levels: ``(H, W)``, 0 to ``steps``.
    """
    boxes, areas = _extents(basins, levels, count, steps)
    alive = areas > 0
    _join(boxes, areas, alive, *_passes(basins, levels, count))
    there = np.flatnonzero(alive)
    found = boxes.reshape(4, -1).take(there, axis=1)
    found[2:] *= -1
    return there % (steps + 1), found.T, areas.ravel().take(there)


def _extents(
    basins: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int, steps: int
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Of each basin at each level: x0, y0, -x1, -y1 ``(4, count, steps + 1)`` and its area ``(count, steps + 1)``."""
    sides = np.full((4, count * (steps + 1)), np.iinfo(np.int16).max, np.int16)
    for first, basin, level in ((1, basins, levels), (0, basins.T.copy(), levels.T.copy())):
        # In a row, a basin's pixels stand in runs, and the highest of a run stays longest. Where a key comes again
        # the last assignment stays: the largest row (or column), or, backwards, the smallest.
        starts = np.flatnonzero(_begins(basin))
        keys = basin.ravel()[starts].astype(np.int64) * (steps + 1) + np.maximum.reduceat(level.ravel(), starts)
        lines = (starts // basin.shape[1]).astype(np.int16)
        sides[first, keys[::-1]] = lines[::-1]
        sides[first + 2, keys] = -lines
    of_pixels = np.multiply(basins, np.int32(steps + 1), dtype=np.int32)
    of_pixels += levels
    here = np.bincount(of_pixels.ravel(), minlength=count * (steps + 1)).reshape(count, steps + 1)
    # a pixel of a level is there at all lower ones
    boxes = np.minimum.accumulate(sides.reshape(4, count, steps + 1)[..., ::-1], axis=-1)[..., ::-1]
    return np.ascontiguousarray(boxes), here[:, ::-1].cumsum(1, dtype=np.int32)[:, ::-1].copy()


def _begins(basins: NDArray[np.signedinteger]) -> NDArray[np.bool_]:
    """Where in its row a run of one basin begins, ``(H, W)``."""
    begins = np.ones(basins.shape, bool)
    np.not_equal(basins[:, 1:], basins[:, :-1], out=begins[:, 1:])
    return begins


def _passes(
    basins: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The pairs of neighbouring basins ``(E, 2)`` and the levels of their highest passes, from high to low."""
    pairs, heights = [], []
    for one, other, passes in borders(basins, levels):
        a, b = one.astype(np.int64), other.astype(np.int64)
        pairs.append(np.minimum(a, b) * count + np.maximum(a, b))
        heights.append(passes)
    table = np.full(count * count, -1, np.int16)
    np.maximum.at(table, np.concatenate(pairs), np.concatenate(heights))
    pair = np.flatnonzero(table >= 0)
    highest = table[pair]
    order = np.argsort(-highest, kind="stable")
    return np.stack(np.divmod(pair[order], count), 1), highest[order]


def _join(
    boxes: NDArray[np.int16],
    areas: NDArray[np.int32],
    alive: NDArray[np.bool_],
    pairs: NDArray[np.int64],
    heights: NDArray[np.int16],
) -> None:
    """Join basins at their passes, in place: below a pass the one's row stands for both, the other's ends."""
    root = list(range(len(areas)))

    def find(basin: int) -> int:
        while root[basin] != basin:
            root[basin] = root[root[basin]]
            basin = root[basin]
        return basin

    for (a, b), height in zip(pairs.tolist(), heights.tolist(), strict=True):
        a, b = find(a), find(b)
        if a == b:
            continue
        root[b] = a
        below = slice(0, height + 1)
        np.minimum(boxes[:, a, below], boxes[:, b, below], out=boxes[:, a, below])
        areas[a, below] += areas[b, below]
        alive[b, below] = False
