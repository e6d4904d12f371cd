"""Bridging the gap: features and class weights are aligned where the object is, and kept apart where it is not."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.models.head import CAMHead
from camexp.regularisation.attention_dropout import loud
from camexp.regularisation.regulariser import Regulariser, require_share
from camexp.regularisation.step import Draws, Targets


class Alignment(NamedTuple):
    """Two terms of the loss of each image, ``(B,)``, -1 (aligned) to 1."""

    similarity: Tensor
    norm: Tensor


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """The mean of ``(B, N)`` over the places chosen ``(B, N)``, 0 where none is: ``(B,)``."""
    return (values * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def alignment(activations: Tensor, weights: Tensor, labels: Tensor, foreground: float, background: float) -> Alignment:
    """How far norms and directions of the activations agree on where the object is.

    A class's map at a place is ``w_c · f(x) = ‖w_c‖ ‖f(x)‖ cos(w_c, f(x))``. With n̂ the norm ‖f(x)‖, stretched to 0..1
    in each image, and s the cosine with the true class's weights::

        similarity = mean of s where n̂ < background  -  mean of s where n̂ > foreground
        norm       = mean of n̂ where S < 0           -  mean of n̂ where S > 0

    with S the largest cosine of any class (section 3.3 of the paper: the parts that are maximised and minimised).

    Args:
        activations: ``(B, K, h, w)``.
        weights: ``(C, K)``, the linear layer's.
        labels: ``(B,)`` in 0..C-1.
        foreground, background: shares of the norm's range, 0 to 1.

    >>> activations = torch.tensor([[[[3.0, 0.0]], [[0.0, 1.0]]]])  # two places: (3, 0) and (0, 1)
    >>> weights = torch.tensor([[2.0, 0.0], [-1.0, -1.0]])
    >>> [round(float(term), 3) for term in alignment(activations, weights, torch.tensor([0]), 0.6, 0.1)]
    [-1.0, -1.0]
    """
    norms = torch.linalg.vector_norm(activations, dim=1).flatten(1)
    low, high = norms.amin(1, keepdim=True), norms.amax(1, keepdim=True)
    stretched = (norms - low) / (high - low).clamp(min=1e-12)
    directions = F.normalize(activations.flatten(2), dim=1)
    cosines = torch.einsum("ck,bkn->bcn", F.normalize(weights, dim=1), directions)
    own = cosines[torch.arange(len(labels), device=labels.device), labels]
    similarity = mean_where(own, stretched < background) - mean_where(own, stretched > foreground)
    largest = cosines.amax(1)
    norm = mean_where(stretched, largest < 0) - mean_where(stretched, largest > 0)
    return Alignment(similarity, norm)


class BridgingGap(Regulariser):
    """Kim et al., *Bridging the Gap between Classification and Localization for WSOL*, CVPR 2022.

    Adds ``drop · L_drop + similarity · L_sim + norm · L_norm`` to the loss, the two latter (:func:`alignment`) after
    the first part of the training. L_drop asks for the same activations when the loudest places are dropped (attentive
    dropout, section 3.4): the mean absolute difference. Dropped is what the head is given, so that stored features
    serve; the paper drops within the trunk, which is the same only in that the layers after it see it too. A map's
    mean stays the logit.

    The weights are those of the authors' settings for CUB and ResNet-50 as later code repeats them; the paper's own
    table of them for VGG-16 was not at hand. The same holds for which share of the places above the threshold is
    dropped, here drawn place by place.

    Args:
        drop, similarity, norm: the weights of the three terms.
        drop_threshold: of the largest attention, from which on a place may be dropped.
        drop_probability: that such a place is dropped.
        foreground, background: shares of the norm's range, see :func:`alignment`.
        start: the share of the training after which alignment sets in.

    Raises:
        UserError: an option out of its range.
    """

    def __init__(
        self,
        drop: float = 2.0,
        similarity: float = 0.5,
        norm: float = 0.05,
        drop_threshold: float = 0.8,
        drop_probability: float = 0.25,
        foreground: float = 0.4,
        background: float = 0.2,
        start: float = 0.25,
    ):
        super().__init__()
        self.drop = require_share("regularise.drop", drop, high=1e6)
        self.similarity = require_share("regularise.similarity", similarity, high=1e6)
        self.norm = require_share("regularise.norm", norm, high=1e6)
        self.drop_threshold = require_share("regularise.drop_threshold", drop_threshold)
        self.drop_probability = require_share("regularise.drop_probability", drop_probability)
        self.foreground = require_share("regularise.foreground", foreground)
        self.background = require_share("regularise.background", background, high=foreground)
        self.start = require_share("regularise.start", start)

    def penalty(
        self, head: CAMHead, features: Tensor, activations: Tensor, targets: Targets, draws: Draws
    ) -> Tensor | None:
        numbers = draws.uniform(1, *features.shape[2:]).to(features.device)
        dropped = loud(features, self.drop_threshold) & (numbers < self.drop_probability)
        finer = torch.promote_types(activations.dtype, torch.float32)
        difference = (head.activations(features * ~dropped) - activations).to(finer).abs().mean((1, 2, 3))
        total = self.drop * difference
        if self.progress < self.start:
            return total
        with torch.autocast(activations.device.type, enabled=False):
            labels = targets.labels.clamp(min=0)  # of an image that does not count, any class will do
            terms = alignment(
                activations.to(finer), head.linear.weight.to(finer), labels, self.foreground, self.background
            )
        return total + self.similarity * terms.similarity + self.norm * terms.norm
