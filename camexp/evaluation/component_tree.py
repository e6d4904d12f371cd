"""The parts of a map with many basins: its component tree, of which only what changes from level to level is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.evaluation.basins import borders

AT_ONCE = 1 << 14  # borders looked at before basins are joined: of the later ones most are inside a part by then
FAR = np.iinfo(np.int16).max
Nodes = tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.int32], int, NDArray[np.int16]]


def component_tree(basins: NDArray[np.signedinteger], levels: NDArray[np.int16], count: int, steps: int) -> Nodes:
    """The nodes of the component tree, found from the highest level to the lowest.

    Memory is that of some arrays of the map's pixels, whatever basins and levels there are.

    Args:
        basins: ``(H, W)``, see :func:`camexp.evaluation.basins.find_basins`; count: how many there are.
        levels: ``(H, W)``, 0 to ``steps``.

    Returns:
        Of each node the highest level ``(N,)``, box ``(N, 4)`` and area ``(N,)``, ``steps``, and the lowest level
        ``(N,)``.

    >>> basins, levels = np.array([[0, 0, 1]]), np.array([[3, 1, 2]], np.int16)
    >>> for array in component_tree(basins, levels, 2, steps=4):
    ...     print(array if isinstance(array, int) else array.tolist())
    [1, 3, 2]
    [[0, 0, 2, 0], [0, 0, 0, 0], [2, 0, 2, 0]]
    [3, 1, 1]
    4
    [0, 2, 2]
    """
    forest = _Forest(count)
    pixels, ones, others = _descend(basins, levels, steps)
    flat_basins = basins.ravel()
    sides, areas = np.full((4, count), FAR, np.int16), np.zeros(count, np.int32)  # x0, y0, -x1, -y1
    end = np.full(count, -1, np.int16)  # the highest level at which a basin's part is in another one's row
    nodes = []
    for level, here, one, other in zip(range(steps, -1, -1), pixels, ones, others, strict=True):
        if not len(here):
            continue
        joined = forest.join(one, other)
        end[joined] = level
        rows, into = forest.find(flat_basins[here]), forest.find(joined)
        y, x = np.divmod(here, levels.shape[1])
        for side, values in zip(sides, (x, y, -x, -y), strict=True):
            np.minimum.at(side, rows, values.astype(np.int16))
            np.minimum.at(side, into, side[joined])
        np.add.at(areas, rows, 1)
        np.add.at(areas, into, areas[joined])
        changed = np.unique(rows)  # all that others were joined to are among them: of a pass one pixel is at its level
        nodes.append((changed, np.full(len(changed), level, np.int16), sides[:, changed], areas[changed]))
    row, highest, boxes, area = (np.concatenate(arrays, axis=-1) for arrays in zip(*nodes, strict=True))
    order = np.lexsort((highest, row))
    row, highest, boxes = row[order], highest[order], boxes[:, order]
    boxes[2:] *= -1
    lowest = end[row] + np.int16(1)
    again = row[1:] == row[:-1]
    lowest[1:][again] = highest[:-1][again] + 1
    return highest, boxes.T, area[order], steps, lowest


def _descend(
    basins: NDArray[np.signedinteger], levels: NDArray[np.int16], steps: int
) -> tuple[Sequence[NDArray[Any]], Sequence[NDArray[Any]], Sequence[NDArray[Any]]]:
    """For each level from the highest to 0: its pixels, and of each pass the basins of lower and higher number."""

    def by_level(of: NDArray[np.int16]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """From high to low, and where the levels below the highest begin."""
        return np.argsort(steps - of, kind="stable"), np.bincount(of, minlength=steps + 1)[:0:-1].cumsum()

    pixels = np.split(*by_level(levels.ravel()))
    one, other, passes = (np.concatenate(arrays) for arrays in zip(*borders(basins, levels), strict=True))
    order, begin = by_level(passes)
    return pixels, np.split(np.minimum(one, other)[order], begin), np.split(np.maximum(one, other)[order], begin)


class _Forest:
    """Which basins are one part by now: the root of a tree of basins stands for all of it (union-find)."""

    def __init__(self, count: int):
        self.root = np.arange(count, dtype=np.int32)

    def find(self, basins: NDArray[np.integer]) -> NDArray[np.int32]:
        """The root of each basin."""
        found = self.root[basins]
        while not np.array_equal(further := self.root[found], found):
            found = further
        self.root[basins] = found
        return found

    def join(self, one: NDArray[np.integer], other: NDArray[np.integer]) -> NDArray[np.int32]:
        """Join pairs of basins in their order, the root of the other to that of the one; returns the former roots."""
        joined: list[int] = []
        for start in range(0, len(one), AT_ONCE):
            a, b = self.find(one[start : start + AT_ONCE]), self.find(other[start : start + AT_ONCE])
            apart = a != b
            root: dict[int, int] = {}
            for low, high in zip(a[apart].tolist(), b[apart].tolist(), strict=True):
                if (low := _find(root, low)) != (high := _find(root, high)):
                    root[high] = low
                    joined.append(high)
            if root:
                self.root[list(root)] = list(root.values())
        return np.array(joined, np.int32)


def _find(root: dict[int, int], basin: int) -> int:
    while (above := root.get(basin, basin)) != basin:
        root[basin] = basin = root.get(above, above)  # halves the way for the next one
    return basin
