"""How well boxes from maps fit boxes drawn by people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torchmetrics import Metric

from camexp.evaluation.components import Components

STEPS = 1000  # thresholds 0, 0.001, …, 1


def box_iou(boxes: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union of boxes x0, y0, x1, y1 whose corners are inclusive pixels.

    Args:
        boxes: ``(N, 4)``; truth: ``(G, 4)``.

    Returns:
        ``(N, G)`` in [0, 1].

    >>> box_iou([[0, 0, 9, 9]], [[0, 0, 9, 4], [20, 20, 30, 30]])
    array([[0.5, 0. ]])
    """
    # a column at a time: numpy's reductions over an axis of two are slow
    x0, y0, x1, y1 = np.asarray(boxes, np.float64).T[:, :, None]
    u0, v0, u1, v1 = np.asarray(truth, np.float64).T[:, None]
    across, down = np.minimum(x1, u1) - np.maximum(x0, u0) + 1, np.minimum(y1, v1) - np.maximum(y0, v0) + 1
    intersection = across.clip(min=0) * down.clip(min=0)
    return intersection / ((x1 - x0 + 1) * (y1 - y0 + 1) + (u1 - u0 + 1) * (v1 - v0 + 1) - intersection)


def best_ious(parts: Components, truth: ArrayLike) -> NDArray[np.float32]:
    """At each level, the highest IoU of any part's box with any of an image's true boxes.

    Args:
        parts: of one map, see :func:`components`; of its largest parts only, to count no others.
        truth: ``(G, 4)`` in the map's pixels.

    Returns:
        ``(steps + 1,)``; 0 where a level has no part.

    >>> from camexp.evaluation import components
    >>> cam = np.zeros((4, 6))
    >>> cam[1:3, 1:5], cam[1:3, 1:3] = 0.5, 1.0
    >>> best_ious(components(cam, steps=2), [[1, 1, 2, 2]])
    array([0.16666667, 0.5       , 1.        ], dtype=float32)
    """
    return parts.best(box_iou(parts.boxes, truth).max(1).astype(np.float32))


class MaxBoxAcc(Metric):
    """The share of images whose box is right, at the threshold that is best for the data set.

    .. math:: \\mathrm{MaxBoxAcc}(\\delta) = \\max_\\tau \\frac{1}{N} \\sum_n 1[\\mathrm{IoU}_n(\\tau) \\ge \\delta]

    Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, eq. 3; with ``ious``
    0.3, 0.5, 0.7 and the boxes of all parts, the mean over the three is MaxBoxAccV2 (TPAMI 2022, section 4.3).

    Args:
        ious: the δ.
        steps: thresholds above 0.

    >>> metric = MaxBoxAcc(ious=(0.5,), steps=2)
    >>> metric.update(torch.tensor([[0.2, 0.6, 1.0], [0.5, 0.8, 0.0]]))
    >>> metric.compute(), metric.best_threshold()
    (tensor(1.), 0.5)
    """

    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self, ious: Sequence[float] = (0.5,), steps: int = STEPS) -> None:
        super().__init__()
        self.ious, self.steps = tuple(ious), steps
        self.add_state("hits", torch.zeros(len(self.ious), steps + 1, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, best: Tensor) -> None:
        """The best IoU of each image at each threshold, ``(B, steps + 1)``, see :func:`best_ious`."""
        right = best[:, None].to(self.hits.device) >= torch.tensor(self.ious, device=self.hits.device)[:, None]
        self.hits += right.sum(0)
        self.total += len(best)

    def curves(self) -> Tensor:
        """The share of right boxes at each δ and threshold, ``(D, steps + 1)``."""
        return self.hits.float() / self.total

    def per_iou(self) -> Tensor:
        """MaxBoxAcc at each δ, ``(D,)``."""
        return self.curves().amax(1)

    def compute(self) -> Tensor:
        return self.per_iou().mean()

    def best_threshold(self) -> float:
        """Where the mean over the δ is highest; the lowest of several."""
        return int(self.curves().mean(0).argmax()) / self.steps
