"""CutMix: a box of another training image is pasted into each."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camexp.regularisation.regulariser import Change, require_share
from camexp.regularisation.step import Draws, Targets


def mixing_box(height: int, width: int, share: float, y: float, x: float) -> tuple[int, int, int, int]:
    """Rows and columns ``(y0, y1, x0, x1)``, ends excluded, of a box of the image's proportions (equation 2).

    Args:
        share: of the image that is to stay, 0 to 1; the box is cut at the image's edges and more may stay.
        y, x: the box's middle, as a share of height and width.

    >>> mixing_box(8, 16, share=0.75, y=0.5, x=0.5)
    (2, 6, 4, 12)
    >>> mixing_box(8, 16, share=0.75, y=0.0, x=0.999)
    (0, 2, 11, 16)
    """
    cut = math.sqrt(1 - share)
    half = int(height * cut) // 2, int(width * cut) // 2
    middle = int(y * height), int(x * width)
    (y0, y1), (x0, x1) = (
        (max(0, at - by), min(size, at + by)) for at, by, size in zip(middle, half, (height, width), strict=True)
    )
    return y0, y1, x0, x1


class CutMix(Change):
    """Yun et al., *CutMix*, ICCV 2019: a box of another image of the batch replaces that of each image, and the loss
    asks for both classes, in proportion to their areas (equations 1 and 2).

    As published, one box and one proportion serve the whole batch of a step. Several processes each mix the images
    they have, so that a run of two is another run than one of one. A map's mean stays the logit.

    Args:
        alpha: the proportion is drawn from Beta(alpha, alpha); 1 is the uniform distribution.
        probability: that a step mixes at all.
        where: ``images``, or ``features``: boxes of the trunk's output, which stored features allow. That is not in the
            paper; there every place has seen its image's own surroundings, across the box's edges.

    Raises:
        UserError: an option out of its range.

    >>> method, labels = CutMix(), torch.tensor([0, 1])
    >>> images = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    >>> mixed, targets = method.images(images, Targets(labels), Draws(2, torch.arange(2)))
    >>> targets.mixed_in is None or mixed.shape == images.shape
    True
    """

    def __init__(self, alpha: float = 1.0, probability: float = 1.0, where: str = "images"):
        super().__init__(where)
        self.alpha = require_share("regularise.alpha", alpha, 0.01, 100)
        self.probability = require_share("regularise.probability", probability)

    def change(self, values: Tensor, targets: Targets, draws: Draws, stride: int) -> tuple[Tensor, Targets]:
        mixes, y, x = draws.shared(3).tolist()
        alpha = torch.tensor(self.alpha, dtype=torch.float32)
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        order = draws.uniform().argsort()
        if mixes >= self.probability:
            return values, targets
        height, width = values.shape[2:]
        y0, y1, x0, x1 = mixing_box(height, width, share, y, x)
        order = order.to(values.device)
        mixed = values.clone()
        mixed[:, :, y0:y1, x0:x1] = values[order, :, y0:y1, x0:x1]
        own = 1 - (y1 - y0) * (x1 - x0) / (height * width)
        return mixed, Targets(targets.labels, targets.labels[order.to(targets.labels.device)], own)
