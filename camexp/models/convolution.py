"""The head's convolution on features that are fixed: the same numbers, with a quicker gradient on a CPU.

With a frozen trunk, training is this one layer's work. The gradient of its weights is a product of two matrices, for
which a CPU reaches nearly its full speed; the convolution library's own way to it takes a third to a half longer
(benchmarks/RESULTS.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

CHUNK = 8  # images whose neighbourhoods are laid out at once: nine times their features


def convolve(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """``layer(features)`` for a 3×3 convolution with padding 1, ``(B, D, h, w)`` to ``(B, K, h, w)``.

    Where the features need no gradient and all is float32 on the CPU, the weights' gradient is a matrix product;
    anywhere else this is the layer itself.

    >>> layer, features = nn.Conv2d(4, 6, 3, padding=1), torch.rand(2, 4, 5, 5)
    >>> torch.equal(convolve(layer, features), layer(features))
    True
    """
    fixed = torch.is_grad_enabled() and layer.weight.requires_grad and not features.requires_grad
    float32 = features.dtype == layer.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if fixed and float32 and features.device.type == "cpu":
        return _OfFixedFeatures.apply(features, layer.weight, layer.bias)
    return layer(features)


class _OfFixedFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        return F.conv2d(features, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        (features,) = ctx.saved_tensors
        channels = gradient.shape[1]
        weights = features.new_zeros(channels, 9 * features.shape[1])
        for some, above in zip(features.split(CHUNK), gradient.split(CHUNK), strict=True):
            rows = above.permute(0, 2, 3, 1).reshape(-1, channels)
            weights.addmm_(rows.T, im2col(some))
        return None, weights.view(channels, 3, 3, -1).permute(0, 3, 1, 2), gradient.sum((0, 2, 3))


def im2col(features: Tensor) -> Tensor:
    """What a 3×3 convolution sees of ``(B, D, h, w)`` at each place: ``(B·h·w, 9·D)``, zeros beyond the border.

    >>> im2col(torch.ones(1, 1, 2, 2)).sum(1)
    tensor([4., 4., 4., 4.])
    """
    height, width = features.shape[2:]
    padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    seen = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return torch.cat(seen, dim=3).reshape(-1, 9 * features.shape[1])
