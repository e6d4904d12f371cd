"""PxAP and PxIoU: how well maps tell an object's pixels from the background."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

STEPS = 1000


def score_histograms(maps: Tensor, masks: Tensor, ignore: Tensor | None = None, steps: int = STEPS) -> Tensor:
    """How many pixels on and off the object have each score.

    Args:
        maps: ``(B, H, W)`` in [0, 1].
        masks: ``(B, H, W)`` bool.
        ignore: ``(B, H, W)`` bool, pixels that count as neither.
        steps: bins of width 1 / steps; the score 1 has one of its own.

    Returns:
        ``(2, steps + 1)``: on the object, off it.

    Raises:
        ValueError: shapes that differ.

    >>> score_histograms(torch.tensor([[[0.0, 0.5], [1.0, 1.0]]]), torch.tensor([[[0, 0], [0, 1]]]).bool(), steps=2)
    tensor([[0, 0, 1],
            [1, 1, 1]])
    """
    if maps.shape != masks.shape or (ignore is not None and ignore.shape != masks.shape):
        raise ValueError(f"maps and masks (B, H, W) are expected, got {tuple(maps.shape)} and {tuple(masks.shape)}")
    bins = (maps * steps).long().clamp(0, steps)
    counted = torch.ones_like(masks) if ignore is None else ~ignore
    return torch.stack([torch.bincount(bins[counted & part], minlength=steps + 1) for part in (masks, ~masks)])


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at another size, each pixel that of the nearest old one, as OpenCV's ``INTER_NEAREST`` takes it.

    So the reference evaluator brings masks to 224×224 (Choe et al., CVPR 2020; their ``load_mask_image``).

    Args:
        mask: ``(H, W)``.
        size: ``(H', W')`` in pixels.

    >>> resize_mask(torch.tensor([[1, 2, 3], [4, 5, 6]]), (1, 2))
    tensor([[1, 2]])
    """
    # the reciprocal of the reciprocal, as OpenCV rounds: 84 · 72/224 is 26.99… there, and its pixel the 26th
    rows, columns = (
        (torch.arange(new, dtype=torch.float64) * (1 / (new / old))).long().clamp(max=old - 1).to(mask.device)
        for old, new in zip(mask.shape, size, strict=True)
    )
    return mask[rows[:, None], columns]


class PixelPrecision(Metric):
    """PxAP and PxIoU: average precision of pixels, and their IoU at the data set's best threshold, in [0, 1].

    .. math:: \\mathrm{PxAP} = \\sum_l \\mathrm{Prec}(\\tau_l) (\\mathrm{Rec}(\\tau_l) - \\mathrm{Rec}(\\tau_{l-1}))

    over thresholds from high to low, all pixels of the data set together (Choe et al., CVPR 2020, eq. 4–6).

    >>> metric = PixelPrecision()
    >>> metric.update(torch.eye(2)[None], torch.eye(2)[None].bool())
    >>> metric.compute()
    {'PxAP': tensor(1.), 'PxIoU': tensor(1.)}
    """

    full_state_update = False
    histograms: Tensor

    def __init__(self, steps: int = STEPS) -> None:
        super().__init__()
        self.steps = steps
        self.add_state("histograms", torch.zeros(2, steps + 1, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, maps: Tensor, masks: Tensor, ignore: Tensor | None = None) -> None:
        """See :func:`score_histograms`."""
        self.histograms += score_histograms(maps, masks, ignore, self.steps).to(self.histograms.device)

    def _curves(self) -> tuple[Tensor, Tensor, Tensor]:
        """Precision, recall and IoU from the highest threshold to the lowest, in double precision."""
        hits, misses = self.histograms.flip(1).cumsum(1).double()
        on = self.histograms[0].sum()
        return hits / (hits + misses).clamp(min=1), hits / on.clamp(min=1), hits / (on + misses).clamp(min=1)

    def compute(self) -> dict[str, Tensor]:
        precision, recall, iou = self._curves()
        steps = torch.diff(recall, prepend=torch.zeros_like(recall[:1]))
        return {"PxAP": (precision * steps).sum().float(), "PxIoU": iou.max().float()}

    def best_threshold(self) -> float:
        """The threshold of PxIoU."""
        return (self.steps - int(self._curves()[2].argmax())) / self.steps

    def curves(self) -> tuple[Tensor, Tensor]:
        """Precision and recall at each threshold from 0 to 1."""
        precision, recall, _ = self._curves()
        return precision.flip(0), recall.flip(0)

    def ious(self) -> Tensor:
        """The IoU of the object's pixels with those at or above each threshold from 0 to 1."""
        return self._curves()[2].flip(0)
