"""What is known of one image that was scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from camexp.cam.boxes import box_from_map
from camexp.cam.maps import upsample
from camexp.data.box_formats import Boxes
from camexp.evaluation.max_box_acc import box_iou
from camexp.evaluation.spooled_maps import Maps

PAPER_THRESHOLD = 0.2  # Zhou et al., CVPR 2016, section 3.2


@dataclass(frozen=True)
class ScoredImage:
    """What is kept of an image until the end, when the best threshold is known.

    Attributes:
        index: in the image set.
        maps: gives its maps again, ``(K, h, w)`` float32, raw; ``K = 0`` where there is nothing to compare them with.
        boxes: ``(G, 4)`` in the pixels of the size that is scored at, or ``None``.
        size: ``(H, W)`` of that size.
        rank: how many classes the network finds likelier than the true one.
        predicted, probability: the likeliest class, and its probability.
        paper_iou: of the box at 20 % of the maximum.
    """

    index: int
    maps: Maps
    boxes: Boxes | None
    size: tuple[int, int]
    rank: int
    predicted: int
    probability: float
    paper_iou: float


def paper_iou(maps: NDArray[np.float32], boxes: Boxes | None, size: tuple[int, int]) -> float:
    """The best IoU of the boxes at 20 % of a raw map's maximum (Zhou et al., CVPR 2016, section 3.2)."""
    best = 0.0
    for cam in torch.from_numpy(maps):
        box = box_from_map(upsample(cam[None, None], size)[0, 0].numpy(), PAPER_THRESHOLD)
        if boxes is not None and box is not None:
            best = max(best, float(box_iou([box], boxes).max()))
    return best
