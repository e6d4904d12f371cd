"""DA-WSOL: places are drawn to the distribution of the pooled features that the classifier learns from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from camexp.errors import UserError
from camexp.models import CAMClassifier
from camexp.models.head import CAMHead
from camexp.regularisation.regulariser import Regulariser, require_share
from camexp.regularisation.step import Draws, Targets

UNIVERSUM, SOURCE, TARGET = range(3)
KERNELS = [2.0**power for power in range(-2, 3)]  # widths of the Gaussian kernels, in mean squared distances


class Clusters(NamedTuple):
    """Which cluster each place belongs to, ``(B, N)``, and the clusters' means, ``(B, 3, K)``."""

    members: Tensor
    centres: Tensor


def cluster(places: Tensor, centres: Tensor, iterations: int = 50) -> Clusters:
    """k-means of each image's places from given centres (Lloyd's algorithm; an empty cluster keeps its centre).

    Args:
        places: ``(B, N, K)``.
        centres: ``(B, 3, K)``, where to begin.
        iterations: at most.

    >>> found = cluster(torch.tensor([[[0.0], [0.2], [5.0], [9.0]]]), torch.tensor([[[0.0], [4.0], [8.0]]]))
    >>> found.members, found.centres.flatten()
    (tensor([[0, 0, 1, 2]]), tensor([0.1000, 5.0000, 9.0000]))
    """
    members = torch.cdist(places, centres).argmin(2)
    for _ in range(iterations):
        belongs = torch.nn.functional.one_hot(members, centres.shape[1]).to(places)
        count = belongs.sum(1)[..., None]
        centres = torch.where(count > 0, belongs.transpose(1, 2) @ places / count.clamp(min=1), centres)
        before, members = members, torch.cdist(places, centres).argmin(2)
        if torch.equal(before, members):
            break
    return Clusters(members, centres)


def discrepancy(source: Tensor, target: Tensor) -> Tensor:
    """The maximum mean discrepancy of two samples ``(B, M, K)``, for each image: ``(B,)``.

    The estimate of linear cost (Gretton et al., *A Kernel Two-Sample Test*, JMLR 2012, section 6), which compares
    neighbours in the samples' order, with a sum of five Gaussian kernels around the mean squared distance (Long et al.,
    *Learning Transferable Features with Deep Adaptation Networks*, ICML 2015).

    >>> sample = torch.rand(1, 6, 4)
    >>> float(discrepancy(sample, sample).abs() < 1e-6)
    1.0
    """
    everything = torch.cat([source, target], dim=1)
    size = everything.shape[1]
    squared = torch.cdist(everything.detach(), everything.detach()).square().sum((1, 2)) / (size**2 - size)
    squared = squared.clamp(min=1e-12)

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        distance = (one - other).square().sum(2)
        return torch.stack([(-distance / (width * squared[:, None])).exp() for width in KERNELS]).sum(0)

    next_source, next_target = source.roll(-1, 1), target.roll(-1, 1)
    alike = kernel(source, next_source) + kernel(target, next_target)
    return (alike - kernel(source, next_target) - kernel(next_source, target)).mean(1)


class DomainAdaptation(Regulariser):
    """Zhu et al., *Weakly Supervised Object Localization as Domain Adaption*, CVPR 2022 (DA-WSOL).

    The classifier learns from pooled activations (the source domain) and makes its maps of single places (the target
    domain). Each image's places are told apart by k-means from three centres: one of the background (universum), its
    own pooled activations (source), and those that its class has had so far (target). Added to the loss are
    ``domain · MMD(source, target)``, :func:`discrepancy`, and ``universum`` times the mean activation of the
    background, which is to have none. A map's mean stays the logit.

    Weights and sample size are those of the authors' code for CUB and ResNet-50. The centres move once a step, with
    the images of all processes together, not image by image.

    Args:
        domain, universum: the weights of the two terms.
        samples: places of each of source and target that are compared; an image that has fewer adds no such term.
        start: the share of the training after which the terms set in (the authors' first of 50 epochs).

    Raises:
        UserError: an option out of its range.
    """

    class_centres: Tensor
    class_counts: Tensor
    universum_centre: Tensor
    universum_count: Tensor

    def __init__(self, domain: float = 0.3, universum: float = 2.0, samples: int = 32, start: float = 0.02):
        super().__init__()
        self.domain = require_share("regularise.domain", domain, high=1e6)
        self.universum = require_share("regularise.universum", universum, high=1e6)
        if isinstance(samples, bool) or not isinstance(samples, int) or not 2 <= samples <= 65536:
            raise UserError(f"regularise.samples={samples} is out of range: expected a whole number from 2 to 65536")
        self.samples = samples
        self.start = require_share("regularise.start", start)

    def attach(self, classifier: CAMClassifier) -> None:
        count, size = classifier.head.linear.weight.shape
        device = classifier.device
        self.register_buffer("class_centres", torch.zeros(count, size, device=device))
        self.register_buffer("class_counts", torch.zeros(count, device=device, dtype=torch.int64))
        self.register_buffer("universum_centre", torch.zeros(size, device=device))
        self.register_buffer("universum_count", torch.zeros((), device=device, dtype=torch.int64))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> DomainAdaptation:
        # running means stay in float32 where the network is turned to half precision
        return super()._apply(lambda values: fn(values).to(values.dtype), recurse)

    def penalty(
        self, head: CAMHead, features: Tensor, activations: Tensor, targets: Targets, draws: Draws
    ) -> Tensor | None:
        numbers = draws.uniform(activations.shape[2] * activations.shape[3]).to(activations.device)
        if self.progress < self.start:
            return None
        with torch.autocast(activations.device.type, enabled=False):
            places = activations.flatten(2).transpose(1, 2).to(torch.promote_types(activations.dtype, torch.float32))
            total = self._terms(places, targets.labels, numbers)
            if targets.mixed_in is None:
                return total
            return targets.share * total + (1 - targets.share) * self._terms(places, targets.mixed_in, numbers)

    def _terms(self, places: Tensor, labels: Tensor, numbers: Tensor) -> Tensor:
        """Of each image, ``(B,)``; places are ``(B, N, K)``, numbers ``(B, N)`` choose among them."""
        pooled = places.mean(1)
        with torch.no_grad():
            counted = labels >= 0
            own = labels.clamp(min=0)
            known = (self.class_counts[own] > 0)[:, None]
            begin = [
                self.universum_centre.to(places).expand_as(pooled),
                pooled,
                torch.where(known, self.class_centres[own].to(places), pooled),
            ]
            found = cluster(places.detach(), torch.stack(begin, dim=1))
            self._move(found.centres[counted].float(), own[counted])
        background = (found.members == UNIVERSUM)[..., None]
        quiet = (places * background).sum((1, 2)) / (background.sum((1, 2)) * places.shape[2]).clamp(min=1)
        source, target = (self._sample(places, found.members == which, numbers) for which in (SOURCE, TARGET))
        enough = ((found.members == SOURCE).sum(1) >= self.samples - 1) & (
            (found.members == TARGET).sum(1) >= self.samples
        )
        source = torch.cat([pooled[:, None], source[:, : self.samples - 1]], dim=1)
        return self.domain * enough * discrepancy(source, target) + self.universum * quiet

    def _sample(self, places: Tensor, chosen: Tensor, numbers: Tensor) -> Tensor:
        """As many places as are compared, the chosen ones first, in random order: ``(B, samples, K)``."""
        order = (numbers + ~chosen).argsort(1)
        order = order[:, torch.arange(self.samples, device=order.device) % order.shape[1]]
        return places.gather(1, order[..., None].expand(-1, -1, places.shape[2]))

    def _move(self, centres: Tensor, labels: Tensor) -> None:
        """The running means, by what this step found: ``(B, 3, K)`` of images of classes ``(B,)``."""
        sums = torch.zeros_like(self.class_centres, dtype=torch.float32).index_add_(0, labels, centres[:, SOURCE])
        counts = torch.bincount(labels, minlength=len(self.class_counts))
        sums, counts = self.all_reduce_sum(sums), self.all_reduce_sum(counts)
        seen = self.class_counts + counts
        moved = (self.class_centres * self.class_counts[:, None] + sums) / seen.clamp(min=1)[:, None]
        self.class_centres.copy_(moved)
        self.class_counts.copy_(seen)
        total = self.all_reduce_sum(centres[:, UNIVERSUM].sum(0))
        seen = self.universum_count + counts.sum()
        self.universum_centre.copy_((self.universum_centre * self.universum_count + total) / seen.clamp(min=1))
        self.universum_count.copy_(seen)
