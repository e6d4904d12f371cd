"""The CAM head of the recipe: convolution, global average pooling, one linear layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
        self.l2 = l2
        for layer in (self.conv_cam, self.linear):
            nn.init.trunc_normal_(layer.weight, std=init_std, a=-2 * init_std, b=2 * init_std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def activations(self, features: Tensor) -> Tensor:
        """The activations that the maps weigh: ``(B, in_channels, h, w)`` to ``(B, channels, h, w)``."""
        return self.activation(self.conv_cam(features))

    def forward(self, activations: Tensor) -> Tensor:
        """Logits ``(B, C)`` of activations ``(B, channels, h, w)``."""
        # never in half precision: the mean of a map stays the logit
        pooled = activations.mean((2, 3), dtype=torch.promote_types(activations.dtype, torch.float32))
        pooled = F.dropout(pooled, self.dropout, self.training).to(self.linear.weight.dtype)
        with torch.autocast(activations.device.type, enabled=False):
            return self.linear(pooled)

    def l2_penalty(self) -> Tensor:
        """``l2 · ½‖w‖²`` summed over the two weight matrices: a scalar to add to the loss."""
        return 0.5 * self.l2 * (self.conv_cam.weight.square().sum() + self.linear.weight.square().sum())
