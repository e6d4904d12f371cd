"""The pointing game: does a map's peak lie on the object?"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


def peaks_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether each map is highest inside its mask (Zhang et al., ECCV 2016, without their margin).

    Args:
        maps: ``(B, H, W)``, at the masks' resolution.
        masks: ``(B, H, W)`` bool.

    Returns:
        ``(B,)`` bool. Of several equal peaks the first counts.

    Raises:
        ValueError: shapes that differ.

    >>> maps = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
    >>> peaks_inside(maps, torch.tensor([[[False, False], [False, True]]]))
    tensor([True])
    """
    if maps.shape != masks.shape or maps.ndim != 3:
        raise ValueError(f"maps and masks (B, H, W) are expected, got {tuple(maps.shape)} and {tuple(masks.shape)}")
    peaks = maps.flatten(1).argmax(1, keepdim=True)
    return masks.flatten(1).gather(1, peaks)[:, 0]


class PointingGame(Metric):
    """The share of maps whose peak lies inside the object's mask, in [0, 1].

    >>> metric = PointingGame()
    >>> metric.update(torch.eye(2)[None], torch.ones(1, 2, 2, dtype=torch.bool))
    >>> metric.compute()
    tensor(1.)
    """

    full_state_update = False
    hits: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("hits", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, maps: Tensor, masks: Tensor) -> None:
        """Maps and masks ``(B, H, W)``, see :func:`peaks_inside`."""
        inside = peaks_inside(maps, masks)
        self.hits += inside.sum().to(self.hits.device)
        self.total += inside.numel()

    def compute(self) -> Tensor:
        return self.hits.float() / self.total
