"""Boxes from maps (Zhou et al., CVPR 2016, section 3.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box = tuple[int, int, int, int]


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
    # 8-connectivity, as OpenCV's contours have it: the field's evaluators count parts that way.
    parts, _ = ndimage.label(cam > threshold * peak, structure=np.ones((3, 3)))
    largest = int(np.bincount(parts.ravel())[1:].argmax()) + 1
    rows, columns = ndimage.find_objects(parts)[largest - 1]
    return int(columns.start), int(rows.start), int(columns.stop) - 1, int(rows.stop) - 1
