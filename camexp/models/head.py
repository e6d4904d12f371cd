"""Heads: what turns features into activations that maps weigh, and into logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camexp.models import pooling
from camexp.models.cells import cell_means, in_cells
from camexp.models.convolution import Conv3x3, convolve


class CAMHead(nn.Module):
    """3×3 convolution, ReLU, pooling, dropout, linear (Zhou et al., CVPR 2016, section 2, with global average pooling).

    The maps are the activations weighed by the linear layer, whatever the pooling; how they are tied to the logits
    differs, see :attr:`tie` and :mod:`camexp.models.pooling`.

    Args:
        in_channels: the trunk's channels.
        num_classes: how many logits.
        channels: the convolution's width (``conv_cam``).
        dropout: probability, applied to the pooled activations; with ``lse``, which pools maps, to whole channels of
            the activations.
        bias: whether the linear layer has one. With it, what a map is tied to is the logit less the bias.
        init_std: σ of the truncated normal (cut at 2σ) both weights start from.
        l2: the factor of ½‖w‖² over both weights, see :meth:`l2_penalty`.
        pool: ``gap``, ``tap``, ``lse``, ``gem`` or ``attention``.
        tap_threshold: θ of :func:`~camexp.models.pooling.thresholded_average_pool`.
        lse_r: r of :func:`~camexp.models.pooling.log_sum_exp_pool`.
        gem_p: p of :func:`~camexp.models.pooling.generalised_mean_pool`.
        attention_channels: L of :func:`~camexp.models.pooling.attention`.
        attention_gated: whether it has its gate.
        cells: n of n×n cells of the image that the linear layer weighs apart, see
            :func:`~camexp.models.cells.in_cells`; 1: all places alike. Of ``gap``.
        power, norm: of each image's pooled activations, see :func:`~camexp.models.pooling.normalised`; 1 and ``None``:
            they stay as they are. Of ``gap``.

    Attributes:
        rows: where several processes share a batch: its size, and which of its rows are here, ``(B,)``. Dropout is
            then drawn for all of it, so that it does not depend on the number of processes.

    >>> head = CAMHead(8, num_classes=3, channels=16)
    >>> activations = head.activations(torch.rand(2, 8, 5, 5))
    >>> activations.shape, head(activations).shape
    (torch.Size([2, 16, 5, 5]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: int = 1024,
        dropout: float = 0.5,
        bias: bool = False,
        init_std: float = 0.01,
        l2: float = 0.01,
        pool: str = "gap",
        tap_threshold: float = 0.1,
        lse_r: float = 5.0,
        gem_p: float = 3.0,
        attention_channels: int = 128,
        attention_gated: bool = False,
        cells: int = 1,
        power: float = 1.0,
        norm: float | None = None,
    ):
        super().__init__()
        self.cells, self.power, self.norm = cells, power, norm
        self.pool, self.tap_threshold, self.lse_r, self.gem_p = pooling.require_pool(pool), tap_threshold, lse_r, gem_p
        self.conv_cam = Conv3x3(in_channels, channels)
        self.activation = nn.ReLU()  # a module, so that other methods find the maps' place by its name
        self.linear = nn.Linear(channels * cells**2, num_classes, bias=bias)
        self.dropout = dropout
        self.rows: tuple[int, Tensor] | None = None
        self.l2 = l2
        for layer in (self.conv_cam, self.linear):
            nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self._add_attention(channels, attention_channels, attention_gated)

    attention: nn.ModuleDict

    def _add_attention(self, depth: int, channels: int, gated: bool) -> None:
        """V, w and the gate's U, where the pooling has them: the other heads' state dicts stay as they were."""
        if self.pool == "attention":
            layers = {"V": nn.Linear(depth, channels, bias=False), "w": nn.Linear(channels, 1, bias=False)}
            gate = {"U": nn.Linear(depth, channels, bias=False)} if gated else {}
            self.attention = nn.ModuleDict({**layers, **gate})

    @property
    def mean_is_logit(self) -> bool:
        """Whether the mean of a map is its class's logit: of global average pooling, without a bias."""
        return self.pool == "gap" and self.linear.bias is None

    @property
    def tie(self) -> str:
        """What ties a map to its class's logit, as a sentence.

        >>> print(CAMHead(8, 3, pool="lse").tie)
        The log-sum-exp (r = 5) of a map is its class's logit.
        """
        less = "" if self.linear.bias is None else " less the bias"
        exactly = {
            "gap": "The mean",
            "lse": f"The log-sum-exp (r = {self.lse_r:g})",
            "attention": "The mean, weighted by the head's attention,",
        }
        if self.pool in exactly:
            return f"{exactly[self.pool]} of a map is its class's logit{less}."
        name = {"tap": "Thresholded average", "gem": "Generalised mean"}[self.pool]
        return f"{name} pooling unties map and logit: no mean of a map is its class's logit."

    def activations(self, features: Tensor) -> Tensor:
        """The activations that the maps weigh: ``(B, in_channels, h, w)`` to ``(B, channels · cells², h, w)``."""
        return self._in_cells(self._convolved(features))

    def _convolved(self, features: Tensor) -> Tensor:
        return self.activation(convolve(self.conv_cam, features))

    def from_features(self, features: Tensor) -> Tensor:
        """Logits ``(B, C)`` of the trunk's output: ``head(head.activations(features))``, where no map is asked for.

        Of ``cells`` it is quicker, for it pools first: the activations are cells² times as many as the features.
        """
        if self.cells == 1 and self.power == 1 and self.norm is None:
            return self(self.activations(features))
        means = cell_means(self._convolved(features), self.cells)
        with torch.autocast(features.device.type, enabled=False):
            return self._weighed(pooling.normalised_means(means, self.power, self.norm))

    def _in_cells(self, activations: Tensor) -> Tensor:
        """Each cell's apart, and normalised: before the pooling, so that the mean of a map stays its logit."""
        if self.cells > 1:
            activations = in_cells(activations, self.cells)
        if self.power == 1 and self.norm is None:
            return activations
        return pooling.normalised(activations, self.power, self.norm)

    def forward(self, activations: Tensor) -> Tensor:
        """Logits ``(B, C)`` of activations ``(B, channels, h, w)``, in float32 or finer."""
        with torch.autocast(activations.device.type, enabled=False):
            return self.logits(activations)

    def logits(self, activations: Tensor) -> Tensor:
        """As :meth:`forward`, for whoever takes care of autocast: a graph that is exported has none."""
        if self.pool == "lse":
            dtype = torch.promote_types(activations.dtype, torch.float32)
            activations = activations.to(dtype)
            if self.training and self.dropout:
                activations = activations * self._dropout(activations.new_ones(activations.shape[:2]))[:, :, None, None]
            weight = self.linear.weight.to(dtype)
            maps = torch.matmul(weight, activations.flatten(2)).unflatten(2, activations.shape[2:])
            pooled, bias = pooling.log_sum_exp_pool(maps, self.lse_r), self.linear.bias
            return pooled if bias is None else pooled + bias.to(dtype)
        return self._weighed(self.pooled(activations))

    def _weighed(self, pooled: Tensor) -> Tensor:
        pooled, bias = self._dropout(pooled), self.linear.bias
        return F.linear(pooled, self.linear.weight.to(pooled.dtype), None if bias is None else bias.to(pooled.dtype))

    def pooled(self, activations: Tensor) -> Tensor:
        """The numbers ``(B, channels)`` that the linear layer weighs, in float32 or finer; ``lse`` has none of them."""
        if self.pool == "tap":
            return pooling.thresholded_average_pool(activations, self.tap_threshold)
        if self.pool == "gem":
            return pooling.generalised_mean_pool(activations, self.gem_p)
        if self.pool == "attention":
            return pooling.attention_pool(activations, self.shares(activations))
        return pooling.average_pool(activations)

    def shares(self, activations: Tensor) -> Tensor:
        """How the places are weighted ``(B, h, w)`` by ``pool=attention``: 1 in sum over an image."""
        weights = dict(self.attention.named_parameters())
        return pooling.attention(activations, weights["V.weight"], weights["w.weight"][0], weights.get("U.weight"))

    def _dropout(self, pooled: Tensor) -> Tensor:
        if self.rows is None or not self.training:
            return F.dropout(pooled, self.dropout, self.training)
        count, rows = self.rows
        return pooled * F.dropout(pooled.new_ones(count, pooled.shape[1]), self.dropout)[rows.to(pooled.device)]

    def l2_penalty(self) -> Tensor:
        """``l2 · ½‖w‖²`` of the convolution and the linear layer, biases and attention left out: a scalar."""
        return 0.5 * self.l2 * (self.conv_cam.weight.square().sum() + self.linear.weight.square().sum())


class GAPHead(CAMHead):
    """Pooling and a linear layer right on the trunk's features, as ResNets have it, with global average pooling.

    With it a pretrained classifier keeps its own weights, so that maps need no training.

    Args:
        in_channels: the trunk's channels.
        num_classes: how many logits.
        dropout, bias, init_std, l2, pool, cells, options: as :class:`CAMHead`'s. Features may be negative, as a vision
            transformer's are: ``tap`` and ``gem``, which are made for activations of 0 or more, lose these values.

    >>> head = GAPHead(8, num_classes=3)
    >>> features = torch.rand(2, 8, 5, 5)
    >>> torch.equal(head.activations(features), features), head(features).shape
    (True, torch.Size([2, 3]))
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        dropout: float = 0.0,
        bias: bool = True,
        init_std: float = 0.01,
        l2: float = 0.0,
        pool: str = "gap",
        attention_channels: int = 128,
        attention_gated: bool = False,
        cells: int = 1,
        **options: Any,
    ):
        super().__init__(in_channels, num_classes, 1, dropout, bias, init_std, l2, "gap", **options)
        del self.conv_cam
        self.activation = nn.Identity()  # type: ignore[assignment]
        self.cells = cells
        self.linear = nn.Linear(in_channels * cells**2, num_classes, bias=bias)
        nn.init.trunc_normal_(self.linear.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
        if bias:
            nn.init.zeros_(self.linear.bias)
        self.pool = pooling.require_pool(pool)
        self._add_attention(in_channels, attention_channels, attention_gated)

    def _convolved(self, features: Tensor) -> Tensor:
        return self.activation(features)

    def l2_penalty(self) -> Tensor:
        """``l2 · ½‖w‖²`` of the linear layer."""
        return 0.5 * self.l2 * self.linear.weight.square().sum()


def build_head(in_channels: int, num_classes: int, kind: str = "cam", **options: Any) -> CAMHead:
    """``cam``, the recipe's head with its convolution, or ``gap``, none but pooling and the linear layer.

    >>> type(build_head(8, 3, kind="gap")).__name__
    'GAPHead'
    """
    if kind == "gap":
        return GAPHead(in_channels, num_classes, **{k: v for k, v in options.items() if k != "channels"})
    return CAMHead(in_channels, num_classes, **options)
