"""Heads: what turns features into activations that maps weigh, and into logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camexp.models.convolution import convolve


class CAMHead(nn.Module):
    """3×3 convolution, ReLU, global average pooling, dropout, linear (Zhou et al., CVPR 2016, section 2).

    Args:
        in_channels: the trunk's channels.
        num_classes: how many logits.
        channels: the convolution's width (``conv_cam``).
        dropout: probability, applied to the pooled activations.
        bias: whether the linear layer has one. With it, the mean of a map is the logit less the bias.
        init_std: σ of the truncated normal (cut at 2σ) both weights start from.
        l2: the factor of ½‖w‖² over both weights, see :meth:`l2_penalty`.

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
    ):
        super().__init__()
        self.conv_cam = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        self.activation = nn.ReLU()  # a module, so that other methods find the maps' place by its name
        self.linear = nn.Linear(channels, num_classes, bias=bias)
        self.dropout = dropout
        self.rows: tuple[int, Tensor] | None = None
        self.l2 = l2
        for layer in (self.conv_cam, self.linear):
            nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def activations(self, features: Tensor) -> Tensor:
        """The activations that the maps weigh: ``(B, in_channels, h, w)`` to ``(B, channels, h, w)``."""
        return self.activation(convolve(self.conv_cam, features))

    def forward(self, activations: Tensor) -> Tensor:
        """Logits ``(B, C)`` of activations ``(B, channels, h, w)``, in float32 or finer."""
        # never in half precision: the mean of a map stays the logit
        pooled = activations.mean((2, 3), dtype=torch.promote_types(activations.dtype, torch.float32))
        weight, bias = self.linear.weight.to(pooled.dtype), self.linear.bias
        with torch.autocast(activations.device.type, enabled=False):
            return F.linear(self._dropout(pooled), weight, None if bias is None else bias.to(pooled.dtype))

    def _dropout(self, pooled: Tensor) -> Tensor:
        if self.rows is None or not self.training:
            return F.dropout(pooled, self.dropout, self.training)
        count, rows = self.rows
        return pooled * F.dropout(pooled.new_ones(count, pooled.shape[1]), self.dropout)[rows.to(pooled.device)]

    def l2_penalty(self) -> Tensor:
        """``l2 · ½‖w‖²`` summed over the two weight matrices: a scalar to add to the loss."""
        return 0.5 * self.l2 * (self.conv_cam.weight.square().sum() + self.linear.weight.square().sum())


class GAPHead(CAMHead):
    """Global average pooling and a linear layer right on the trunk's features, as ResNets have it.

    With it a pretrained classifier keeps its own weights, so that maps need no training.

    Args:
        in_channels: the trunk's channels.
        num_classes: how many logits.
        dropout, bias, init_std, l2: as :class:`CAMHead`'s.

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
    ):
        super().__init__(in_channels, num_classes, 1, dropout, bias, init_std, l2)
        del self.conv_cam
        self.activation = nn.Identity()  # type: ignore[assignment]
        self.linear = nn.Linear(in_channels, num_classes, bias=bias)
        nn.init.trunc_normal_(self.linear.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
        if bias:
            nn.init.zeros_(self.linear.bias)

    def activations(self, features: Tensor) -> Tensor:
        """The features themselves: ``(B, D, h, w)``."""
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
