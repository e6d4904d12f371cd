"""A map's basins: for each of its local maxima the pixels from which an ascent leads there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_AROUND = np.array([[-1, -1], [-1, 0], [-1, 1], [0, 0], [1, -1], [1, 0], [1, 1]])  # itself, and the rows beside it


def find_basins(heights: NDArray[np.int32]) -> tuple[NDArray[np.signedinteger], int]:
    """The number of each pixel's basin, ``(H, W)``, and how many basins there are.

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
    indices = (row + 1) * stride + column + 1 + _AROUND @ np.array([[stride], [1]])
    highest = indices[(framed.take(indices) * framed.size + indices).argmax(0), np.arange(len(peaks))]
    ascent = np.searchsorted(slopes, (highest // stride - 1) * width + highest % stride - 1, side="right") - 1
    tops = np.flatnonzero(ascent == np.arange(len(peaks)))
    while not np.array_equal(further := ascent.take(ascent), ascent):  # each round doubles the ascent
        ascent = further
    number = np.zeros(len(peaks), np.int16 if len(tops) < 2**15 else np.int32)  # half the bytes, half the time
    number[tops] = np.arange(len(tops))
    return np.repeat(number.take(ascent), np.diff(slopes, append=heights.size)).reshape(height, width), len(tops)


def borders(
    basins: NDArray[np.signedinteger], levels: NDArray[np.int16]
) -> Iterator[tuple[NDArray[np.signedinteger], NDArray[np.signedinteger], NDArray[np.int16]]]:
    """Neighbouring pixels of two basins: both basins and the level of the pass between them, ``(E,)`` each.

    A direction at a time: to the right, down, and down over either corner.
    """
    width = basins.shape[1]
    flat_basins, flat_levels = basins.ravel(), levels.ravel()
    across, down, square = np.zeros((3, *basins.shape), bool)
    np.not_equal(basins[:, 1:], basins[:, :-1], out=across[:, :-1])
    np.not_equal(basins[1:], basins[:-1], out=down[:-1])
    # neighbours over a corner can only differ where the square of the two is not all one basin
    square[:-1, :-1] = across[:-1, :-1] | down[:-1, :-1] | down[:-1, 1:]
    corners = np.flatnonzero(square)
    for one, step in (
        (np.flatnonzero(across), 1),
        (np.flatnonzero(down), width),
        (corners, width + 1),
        (corners + 1, width - 1),
    ):
        other = one + step
        yield flat_basins[one], flat_basins[other], np.minimum(flat_levels[one], flat_levels[other])
