"""The boxes of a map's connected parts at every threshold, from one pass over its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from camexp.cam import boxes
from camexp.evaluation.basin_table import basin_table
from camexp.evaluation.basins import find_basins
from camexp.evaluation.component_tree import component_tree

_FINEST = 32000  # fits 16 bits
# With more basins the pairs of them, and with more basins × levels their table, take longer than the tree.
MOST_BASINS, MOST_CELLS = 1024, 1 << 20
V = TypeVar("V", bound=np.number)


@dataclass(frozen=True)
class Components:
    """The connected parts of a map at every level.

    Attributes:
        levels: ``(N,)`` the level of each row; where ``lowest`` is given, the highest at which the part is the same.
        boxes: ``(N, 4)`` x0, y0, x1, y1 in pixels, corners inclusive.
        areas: ``(N,)`` in pixels; those of contours have halves.
        steps: the highest level; level k is the threshold k / steps.
        lowest: ``(N,)`` the lowest level at which each row's part is the same; ``None``: a row a part and level.
    """

    levels: NDArray[np.signedinteger]
    boxes: NDArray[np.int16]
    areas: NDArray[np.int32] | NDArray[np.float64]
    steps: int
    lowest: NDArray[np.signedinteger] | None = None

    def largest(self) -> Components:
        """The part of most pixels at each level, a row a level."""
        if self.lowest is None:
            order = np.lexsort((-self.areas, self.levels))
            levels = self.levels[order]
            first = order[np.concatenate(([True], levels[1:] != levels[:-1]))]
            return Components(self.levels[first], self.boxes[first], self.areas[first], self.steps)
        count = len(self.areas)
        # of equal areas the first row counts, as above
        best = self.best(self.areas.astype(np.int64) * count + np.arange(count)[::-1])
        levels = np.flatnonzero(best)
        first = count - 1 - best[levels] % count
        return Components(levels, self.boxes[first], self.areas[first], self.steps)

    def at(self, level: int) -> Components:
        """The parts at one level."""
        lowest = self.levels if self.lowest is None else self.lowest
        chosen = (lowest <= level) & (level <= self.levels)
        return Components(np.full(chosen.sum(), level), self.boxes[chosen], self.areas[chosen], self.steps)

    def best(self, values: NDArray[V]) -> NDArray[V]:
        """At each level the highest value of any part that is there.

        Args:
            values: ``(N,)``, of each row, at least 0.

        Returns:
            ``(steps + 1,)``; 0 where a level has no part.

        >>> rows = np.zeros((2, 4), np.int16)
        >>> Components(np.array([3, 1]), rows, rows[:, 0], 4, lowest=np.array([1, 0])).best(np.array([5, 7]))
        array([7, 7, 5, 5, 0])
        """
        best = np.zeros((self.steps + 1).bit_length() * (self.steps + 1), values.dtype).reshape(-1, self.steps + 1)
        if self.lowest is None:
            np.maximum.at(best[0], self.levels, values)
            return best[0]
        # best[p, k] is of the 2**p levels from k on; two such stretches cover those of a row
        power = np.frexp(self.levels - self.lowest + 1)[1] - 1
        for start in (self.lowest, self.levels - (1 << power) + 1):
            np.maximum.at(best, (power, start), values)
        for p in range(len(best) - 1, 0, -1):
            half = 1 << (p - 1)
            np.maximum(best[p - 1], best[p], out=best[p - 1])
            np.maximum(best[p - 1, half:], best[p, :-half], out=best[p - 1, half:])
        return best[0]


def components(cam: NDArray[np.floating], steps: int = 1000) -> Components:
    """The 8-connected parts of ``cam >= t`` for t = 0, 1/steps, …, 1.

    Every pixel belongs to the basin (local maximum) to which an ascent from it leads. At a threshold, what is left
    of a basin is connected, because the ascent only passes higher pixels; two basins are connected where a pair of
    neighbours, one of each, lies above it. So the parts at all thresholds are unions of basins, joined from the
    highest pass to the lowest, as in Kruskal's algorithm: the component tree (Najman and Couprie, *Building the
    component tree in quasi-linear time*, IEEE TIP 2006) with basins for leaves. A map's few dozen basins are all
    that is looped over; of a noisy map with very many :func:`camexp.evaluation.component_tree.component_tree`
    keeps no more than changes from level to level.

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
    basins, count = find_basins(heights)
    if count > MOST_BASINS or count * (steps + 1) > MOST_CELLS:
        return Components(*component_tree(basins, levels, count, steps))
    return Components(*basin_table(basins, levels, count, steps), steps)


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
    box = boxes.largest_box(quantised(cam, steps) >= level * (_FINEST // steps))
    return None if box is None else np.array(box, np.int16)
