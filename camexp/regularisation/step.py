"""What a training step holds for methods that change it: targets, and random numbers for each image."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.features.batches import IGNORE_INDEX


class Targets(NamedTuple):
    """What the logits of a batch are to say.

    Attributes:
        labels: ``(B,)`` the class of each image; ``IGNORE_INDEX`` for one that is not to count.
        mixed_in: ``(B,)`` the class of what was mixed into each, if anything was.
        share: of each image that is still its own, 0 to 1.

    >>> targets = Targets(torch.tensor([0, 1]), mixed_in=torch.tensor([1, 0]), share=0.75)
    >>> targets.cross_entropy(torch.tensor([[2.0, 0.0], [2.0, 0.0]]))
    tensor(2.2539)
    """

    labels: Tensor
    mixed_in: Tensor | None = None
    share: float = 1.0

    def cross_entropy(self, logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """``share · CE(labels) + (1 - share) · CE(mixed_in)``, summed over the images, of logits ``(B, C)``.

        Args:
            label_smoothing: the share of each target that goes to all classes alike, 0 to 1 (Szegedy et al.,
                CVPR 2016).
        """

        def summed(labels: Tensor) -> Tensor:
            return F.cross_entropy(
                logits, labels, ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=label_smoothing
            )

        if self.mixed_in is None:
            return summed(self.labels)
        return self.share * summed(self.labels) + (1 - self.share) * summed(self.mixed_in)


class Draws:
    """Random numbers of a step: an image's do not depend on how many processes share its batch, and all are float32,
    whatever the network computes in: of half the bits many would be equal.

    Args:
        count: the size of the batch, over all processes.
        rows: ``(B,)`` which of its images are here.

    >>> _ = torch.manual_seed(0)
    >>> whole = Draws(4, torch.arange(4)).uniform(2)
    >>> _ = torch.manual_seed(0)
    >>> torch.equal(Draws(4, torch.tensor([1, 3])).uniform(2), whole[[1, 3]])
    True
    """

    def __init__(self, count: int, rows: Tensor):
        self.count, self.rows = count, rows

    def uniform(self, *shape: int) -> Tensor:
        """``(B, *shape)`` in [0, 1), on the CPU."""
        return torch.rand(self.count, *shape, dtype=torch.float32)[self.rows]

    def shared(self, *shape: int) -> Tensor:
        """``shape`` in [0, 1), the same in every process, on the CPU."""
        return torch.rand(shape, dtype=torch.float32)
