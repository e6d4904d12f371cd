"""Boxes from maps (Zhou et al., CVPR 2016, section 3.2)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box = tuple[int, int, int, int]


class Part(NamedTuple):
    """A connected part of what lies above a threshold.

    Attributes:
        box: x0, y0, x1, y1 in pixels of the whole map, corners inclusive.
        mask: ``(y1 + 1 - y0, x1 + 1 - x0)``, which pixels of its box belong to it.
        area: how many these are.
    """

    box: Box
    mask: NDArray[np.bool_]
    area: int


def connected_parts(above: NDArray[np.bool_], min_area: float = 1) -> list[Part]:
    """The 8-connected parts of a mask, the largest first; of equal ones, that with the uppermost pixel.

    Args:
        above: ``(H, W)``.
        min_area: pixels; smaller parts are left out.

    >>> above = np.zeros((5, 7), bool)
    >>> above[0, 0] = above[1, 1] = above[3:5, 3:6] = above[0, 6] = True
    >>> [(part.box, part.area) for part in connected_parts(above, min_area=2)]
    [((3, 3, 5, 4), 6), ((0, 0, 1, 1), 2)]
    """
    numbers, areas = _label(above)
    slices = ndimage.find_objects(numbers)
    order = np.argsort(-areas, kind="stable")
    return [
        Part(_box(*slices[index]), numbers[slices[index]] == index + 1, int(areas[index]))
        for index in order[areas[order] >= min_area]
    ]


def largest_box(above: NDArray[np.bool_]) -> Box | None:
    """The box of the first of :func:`connected_parts`; ``None`` where there is none.

    >>> largest_box(np.eye(3, dtype=bool))
    (0, 0, 2, 2)
    """
    numbers, areas = _label(above)
    return _box(*ndimage.find_objects(numbers)[int(areas.argmax())]) if len(areas) else None


def _label(above: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """The number of each pixel's part, from 1, and the parts' areas.

    8-connectivity, as OpenCV's contours have it: the field's evaluators count parts that way.
    """
    numbers, _ = ndimage.label(above, structure=np.ones((3, 3)))
    return numbers, np.bincount(numbers.ravel())[1:]


def _box(rows: slice, columns: slice) -> Box:
    return int(columns.start), int(rows.start), int(columns.stop) - 1, int(rows.stop) - 1


def box_from_map(cam: NDArray[np.floating], threshold: float = 0.2) -> Box | None:
    """The box around the largest connected part of what exceeds a share of the map's maximum.

    Args:
        cam: ``(H, W)``, a raw map at the resolution in which the box is wanted.
        threshold: the share of the maximum, in [0, 1); the paper's is 0.2.

    Returns:
        ``(x0, y0, x1, y1)`` in pixels, corners inclusive; ``None`` where nothing is positive.

    Raises:
        ValueError: a map that is not two-dimensional, or a threshold outside [0, 1).

    >>> cam = np.zeros((6, 8))
    >>> cam[1:4, 2:7] = 1.0
    >>> cam[5, 0] = 0.9  # a smaller part
    >>> box_from_map(cam)
    (2, 1, 6, 3)
    """
    if cam.ndim != 2:
        raise ValueError(f"a map (H, W) is expected, got shape {cam.shape}")
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold={threshold} is not in [0, 1)")
    peak = float(cam.max())
    if not peak > 0:
        return None
    return largest_box(cam > threshold * peak)
