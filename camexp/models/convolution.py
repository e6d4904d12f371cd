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

from camexp.models.winograd import (
    is_shorter,
    transform_images,
    transform_products,
    transform_weights,
    weight_gradient,
)

MIN_TILES_TRAINED = 512  # the weights are transformed at every step


def convolve(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """``layer(features)`` for a 3×3 convolution with padding 1, ``(B, D, h, w)`` to ``(B, K, h, w)``.

    Where the features need no gradient on a CPU, the weights' gradient is nine matrix products, in bfloat16 if autocast
    says so; anywhere else this is the layer itself.

    >>> layer, features = nn.Conv2d(4, 6, 3, padding=1), torch.rand(2, 4, 5, 5)
    >>> torch.equal(convolve(layer, features), layer(features))
    True
    """
    weight, bias = layer.weight, layer.bias
    fixed = torch.is_grad_enabled() and weight.requires_grad and not features.requires_grad
    if not fixed or features.device.type != "cpu":
        return layer(features)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        features, bias = features.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast("cpu", enabled=False):
        if is_shorter(layer, features, MIN_TILES_TRAINED):
            return _InFewerProducts.apply(features, weight, bias)
        return _OfFixedFeatures.apply(features, weight.to(features.dtype), bias)


class _InFewerProducts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        tiles = transform_images(features)
        ctx.save_for_backward(tiles)
        ctx.dtype = weight.dtype
        products = torch.bmm(tiles, transform_weights(weight, features.dtype).mT)
        return transform_products(products, features.shape, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        (tiles,) = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):  # in the features' dtype, wherever backward is called
            weights = weight_gradient(tiles, gradient.to(tiles.dtype))
        return None, weights.to(ctx.dtype), gradient.sum((0, 2, 3))


class _OfFixedFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(features)
        return F.conv2d(features, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        (features,) = ctx.saved_tensors
        _, depth, height, width = features.shape
        channels = gradient.shape[1]
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, channels).T.contiguous()
        padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        weights = features.new_empty(3, 3, channels, depth)
        with torch.autocast("cpu", enabled=False):  # in the features' dtype, wherever backward is called
            for y in range(3):
                for x in range(3):
                    seen = padded[:, y : y + height, x : x + width].reshape(-1, depth)
                    torch.mm(rows, seen, out=weights[y, x])
        return None, weights.permute(2, 3, 0, 1), gradient.sum((0, 2, 3))
