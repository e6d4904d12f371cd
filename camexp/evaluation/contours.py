"""Boxes by one contour search per threshold, exactly as the field's reference evaluator makes them.

It differs from :func:`camexp.evaluation.components.components` in four ways: the map is cut to 8 bits first;
a pixel counts where it lies above ``int(t · max)``, not at or above t; the contours inside of parts count as parts
(OpenCV's RETR_TREE); and boxes end a pixel further to the right and below. Needs OpenCV:
``pip install 'camexp[contours]'``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from camexp.evaluation.components import Components
from camexp.packages import require


def contours(cam: NDArray[np.floating], steps: int = 1000) -> Components:
    """The boxes of all contours of ``cam`` for t = 0, 1/steps, … less than 1 (Choe et al., CVPR 2020; their code).

    Args:
        cam: ``(H, W)`` in [0, 1].
        steps: how many thresholds.

    Returns:
        As :func:`components` does; the areas are OpenCV's, of the polygons through the outermost pixels' centres, in
        halves of a pixel.
    """
    cv2 = require("cv2", "components_by=contours", "camexp[contours]")
    image = (cam * 255).astype(np.uint8)
    height, width = image.shape
    levels, boxes, areas = [], [], []
    for level in range(steps):
        _, above = cv2.threshold(image, int(level / steps * image.max()), 255, cv2.THRESH_BINARY)
        found = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if not found:
            levels.append(level)
            boxes.append((0, 0, 0, 0))
            areas.append(0)
        for contour in found:
            x, y, wide, high = cv2.boundingRect(contour)
            levels.append(level)
            boxes.append((x, y, min(x + wide, width - 1), min(y + high, height - 1)))
            areas.append(cv2.contourArea(contour))
    return Components(np.array(levels), np.array(boxes, np.int16), np.array(areas, np.float64), steps)
