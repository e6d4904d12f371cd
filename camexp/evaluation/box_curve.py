"""A map's box and its IoU as the threshold moves: what a page needs to follow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from camexp.data.box_formats import Boxes
from camexp.evaluation.components import Components
from camexp.evaluation.max_box_acc import box_iou

POINTS = 101  # thresholds 0, 0.01, …, 1
PER_UNIT = 250  # an IoU in 8 bits: 0.3, 0.5 and 0.7 are whole numbers of it


@dataclass(frozen=True)
class BoxCurve:
    """Of one image, at ``POINTS`` thresholds.

    Attributes:
        ious: ``(POINTS,)`` in [0, 1], of the box of the largest part with the true box that fits it best.
        boxes: ``(POINTS, 4)`` in the pixels of the size that is scored at; zeros where there is no part.
        which: ``(POINTS,)`` of several maps the one whose box it is.
    """

    ious: NDArray[np.float32]
    boxes: NDArray[np.int16]
    which: NDArray[np.uint8]

    def levels(self) -> NDArray[np.uint8]:
        """The IoUs in ``PER_UNIT``-ths, rounded down: at least 0.5 as a level exactly where they are as numbers.

        >>> BoxCurve(np.float32([0.3, 0.49999, 0.5, 1.0]), np.zeros((4, 4), np.int16), np.zeros(4, np.uint8)).levels()
        array([ 75, 124, 125, 250], dtype=uint8)
        """
        # of pixels' counts: what is not a level is further from it than a float's last digit
        return np.floor(self.ious.astype(np.float64) * PER_UNIT + 1e-5).astype(np.uint8)


def box_curve(largest: Sequence[Components], truth: Boxes) -> BoxCurve:
    """The box of the largest part at each threshold; of several maps the one that fits best counts.

    Args:
        largest: of each map, see :meth:`Components.largest`.
        truth: ``(G, 4)`` in the maps' pixels, corners inclusive.

    >>> from camexp.evaluation.components import components
    >>> cam = np.zeros((4, 6))
    >>> cam[1:3, 1:5], cam[1:3, 1:3] = 0.5, 1.0
    >>> curve = box_curve([components(cam).largest()], np.array([[1, 1, 2, 2]]))
    >>> curve.ious[[50, 51]].tolist(), curve.boxes[[50, 51]].tolist()
    ([0.5, 1.0], [[1, 1, 4, 2], [1, 1, 2, 2]])
    """
    ious, boxes = np.zeros(POINTS, np.float32), np.zeros((POINTS, 4), np.int16)
    which = np.zeros(POINTS, np.uint8)
    for number, parts in enumerate(largest):
        wanted = np.arange(POINTS) * parts.steps // (POINTS - 1)
        row = np.searchsorted(parts.levels, wanted).clip(max=len(parts.levels) - 1)
        found = box_iou(parts.boxes[row], truth).max(1).astype(np.float32)
        better = (parts.levels[row] == wanted) & (found >= ious)
        ious[better], boxes[better], which[better] = found[better], parts.boxes[row][better], number
    return BoxCurve(ious, boxes, which)
