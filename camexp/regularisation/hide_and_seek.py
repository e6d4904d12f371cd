"""Hide-and-seek: patches of the training images are hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camexp.errors import UserError
from camexp.regularisation.regulariser import Change, require_share
from camexp.regularisation.step import Draws, Targets


def visible(height: int, width: int, patch: Tensor, numbers: Tensor, probability: float) -> Tensor:
    """Where each image is seen: ``(B, 1, height, width)``, bool.

    Args:
        patch: ``(B,)`` the side of an image's square patches, in pixels.
        numbers: ``(B, R, S)`` in [0, 1), one for each patch; those that no image has patches for are not looked at.
        probability: a patch is hidden where its number is below it.

    >>> numbers = torch.tensor([[[0.9, 0.1], [0.4, 0.7]]])
    >>> visible(3, 4, torch.tensor([2]), numbers, probability=0.5)[0, 0].int()
    tensor([[1, 1, 0, 0],
            [1, 1, 0, 0],
            [0, 0, 1, 1]], dtype=torch.int32)
    """
    row = torch.arange(height)[None] // patch[:, None]
    column = torch.arange(width)[None] // patch[:, None]
    image = torch.arange(len(patch))[:, None, None]
    return (numbers[image, row[:, :, None], column[:, None, :]] >= probability)[:, None]


class HideAndSeek(Change):
    """Singh and Lee, *Hide-and-Seek*, ICCV 2017: a random share of an image's square patches is hidden in each step, so
    that the network has to find more than the most telling part.

    What is hidden becomes the mean colour (0 after the preprocessing's normalisation), as in the paper, section 3.2.
    A map's mean stays the logit: the network itself is not changed.

    Args:
        patches: sides in pixels of the input; each image and step takes one of them (the paper's HaS-Mixed).
        probability: that a patch is hidden.
        where: ``images``, or ``features``: patches of the trunk's output become 0, which stored features allow.
            A patch there has the nearest whole number of places, at least one. That is not in the paper.

    Raises:
        UserError: an option out of its range.

    >>> method = HideAndSeek(patches=[4], probability=1.0)
    >>> images, _ = method.images(torch.ones(2, 3, 8, 8), Targets(torch.zeros(2)), Draws(2, torch.arange(2)))
    >>> float(images.sum())
    0.0
    """

    def __init__(self, patches: Sequence[int] = (16, 32, 44, 56), probability: float = 0.5, where: str = "images"):
        super().__init__(where)
        for patch in patches if isinstance(patches, Sequence) and not isinstance(patches, str) and patches else [None]:
            if isinstance(patch, bool) or not isinstance(patch, int) or not 1 <= patch <= 8192:
                raise UserError(
                    f"regularise.patches={patches} is no list of sides in pixels: expected as [16,32,44,56]"
                )
        self.patches = tuple(patches)
        self.probability = require_share("regularise.probability", probability)

    def change(self, values: Tensor, targets: Targets, draws: Draws, stride: int) -> tuple[Tensor, Targets]:
        sides = torch.tensor([max(1, round(patch / stride)) for patch in self.patches])
        height, width = values.shape[2:]
        smallest = int(sides.min())
        chosen = sides[(draws.uniform() * len(sides)).long()]
        numbers = draws.uniform(-(-height // smallest), -(-width // smallest))
        return values * visible(height, width, chosen, numbers, self.probability).to(values), targets
