"""Whether the network needs what a map points at."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchvision.transforms.functional import gaussian_blur

Predict = Callable[[Tensor], Tensor]


def insertion_deletion(
    predict: Predict, images: Tensor, maps: Tensor, labels: Tensor, blank: Tensor, steps: int = 32
) -> tuple[Tensor, Tensor]:
    """The areas under the class's probability while pixels are put in and taken out, most important first.

    Petsiuk et al., *RISE*, BMVC 2018, section 4.3: insertion starts from the blurred image (Gaussian of 11 pixels,
    σ 5), deletion ends at the blank one. Higher insertion and lower deletion are better.

    Args:
        predict: images to probabilities ``(B, C)``.
        images: ``(B, 3, H, W)``, as the network takes them.
        maps: ``(B, H, W)`` at the images' resolution.
        labels: ``(B,)`` the class of each map.
        blank: ``(3,)`` what a pixel taken out becomes.
        steps: in how many equal portions; one forward pass of the batch for each, and for none.

    Returns:
        insertion and deletion, ``(B,)`` each, in [0, 1] (trapezoids).

    >>> bright = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> image = torch.zeros(1, 3, 8, 8); image[..., :4] = 1.0
    >>> _, deletion = insertion_deletion(bright, image, image[:, 0], torch.tensor([0]), torch.zeros(3), steps=4)
    >>> deletion
    tensor([0.1250])
    """
    count = maps[0].numel()
    rank = torch.empty_like(maps.flatten(1), dtype=torch.long)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank.scatter_(1, order, torch.arange(count, device=maps.device).expand_as(order))
    rank = rank.view_as(maps)[:, None]
    blurred, empty = gaussian_blur(images, [11, 11], [5.0, 5.0]), blank.view(1, 3, 1, 1).to(images).expand_as(images)

    def area(start: Tensor, goal: Tensor) -> Tensor:
        values = []
        for step in range(steps + 1):
            done = rank < round(count * step / steps)
            probabilities = predict(torch.where(done, goal, start))
            values.append(probabilities.gather(1, labels[:, None])[:, 0])
        return torch.trapezoid(torch.stack(values), dx=1 / steps, dim=0)

    return area(blurred, images), area(images, empty)


def confidence_change(
    predict: Predict, images: Tensor, maps: Tensor, labels: Tensor, blank: Tensor
) -> tuple[Tensor, Tensor]:
    """Drop and increase of the class's probability when only what the map shows is left.

    Chattopadhay et al., *Grad-CAM++*, WACV 2018, section 5.1: ``max(0, Y - O) / Y`` and ``Y < O``, where O is the
    probability for the image times its map. The lower the drop and the oftener an increase, the better.

    Args:
        maps: ``(B, H, W)`` in [0, 1]; the others as in :func:`insertion_deletion`.

    Returns:
        drop ``(B,)`` in [0, 1] and increase ``(B,)`` bool.

    >>> bright = lambda images: torch.stack([images.mean((1, 2, 3)), 1 - images.mean((1, 2, 3))], 1)
    >>> image, cam = torch.ones(1, 3, 2, 2), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    >>> confidence_change(bright, image, cam, torch.tensor([0]), torch.zeros(3))
    (tensor([0.5000]), tensor([False]))
    """
    empty = blank.view(1, 3, 1, 1).to(images)
    share = maps[:, None].to(images)
    before, after = (
        predict(batch).gather(1, labels[:, None])[:, 0] for batch in (images, images * share + empty * (1 - share))
    )
    return (before - after).clamp(min=0) / before.clamp(min=1e-12), before < after


class Faithfulness(Metric):
    """Means of :func:`insertion_deletion` and :func:`confidence_change`.

    >>> metric = Faithfulness()
    >>> one = torch.ones(1)
    >>> metric.update(one, one * 0.5, one * 0.25, one.bool())
    >>> {name: float(value) for name, value in metric.compute().items()}
    {'insertion': 1.0, 'deletion': 0.5, 'average_drop': 0.25, 'increase': 1.0}
    """

    NAMES = ("insertion", "deletion", "average_drop", "increase")
    full_state_update = False
    sums: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(len(self.NAMES), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, insertion: Tensor, deletion: Tensor, drop: Tensor, increase: Tensor) -> None:
        """``(B,)`` each."""
        sums = [value.double().sum() for value in (insertion, deletion, drop, increase)]
        self.sums += torch.stack(sums).to(self.sums.device)
        self.total += len(drop)

    def compute(self) -> dict[str, Tensor]:
        return dict(zip(self.NAMES, (self.sums / self.total).float(), strict=True))
