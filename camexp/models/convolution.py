"""3×3 convolutions on a CPU, quicker where less than all is asked for: no gradient, or that of the weights alone.

Where nothing trains (:class:`Conv3x3`), and in the head of a frozen trunk (:func:`convolve`), they take the way of
:mod:`camexp.models.winograd` if it is the shorter one. Else the gradient of the head's weights is a product of two
matrices, for which a CPU reaches nearly its full speed; the convolution library's own way to it takes a third to a half
longer (benchmarks/RESULTS.md).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from camexp.models.winograd import (
    convolve_transformed,
    transform_images,
    transform_products,
    transform_weights,
    weight_gradient,
)
from camexp.tracing import is_traced

# With fewer the sums before and after take more than the products save; what trains is transformed at every step
MIN_CHANNELS, MIN_TILES, MIN_TILES_TRAINED = {torch.float32: 128, torch.bfloat16: 256}, 16, 512


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
    if not fixed or not _is_plain(features):
        return layer(features)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        features, bias = features.to(dtype), None if bias is None else bias.to(dtype)
    with torch.autocast("cpu", enabled=False):
        if winograd_applies(layer, features, MIN_TILES_TRAINED):
            return _WinogradConv.apply(features, weight, bias)
        return _OfFixedFeatures.apply(features, weight.to(features.dtype), bias)


class _WinogradConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        tiles = transform_images(features)
        ctx.save_for_backward(tiles)
        ctx.dtype, ctx.with_bias = weight.dtype, bias is not None
        products = torch.bmm(tiles, transform_weights(weight, features.dtype).mT)
        return transform_products(products, features.shape, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor | None]:  # type: ignore[override]
        (tiles,) = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):  # in the features' dtype, wherever backward is called
            weights = weight_gradient(tiles, gradient.to(tiles.dtype))
        return None, weights.to(ctx.dtype), gradient.sum((0, 2, 3)) if ctx.with_bias else None


class _OfFixedFeatures(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(features)
        ctx.with_bias = bias is not None
        return F.conv2d(features, weight, bias, padding=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor | None]:  # type: ignore[override]
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
        return None, weights.permute(2, 3, 0, 1), gradient.sum((0, 2, 3)) if ctx.with_bias else None


class Conv3x3(nn.Conv2d):
    """``nn.Conv2d`` with stride and padding 1, which takes the shorter way where that is one and nothing of it needs a
    gradient.

    Transformed weights are kept until the weights change: by an optimizer, by loading, by anything in place. Only a
    change through ``weight.data``, which PyTorch does not count, is found by looking at a weight of each filter and of
    each channel: to change less than a whole one of these, write ``with torch.no_grad(): layer.weight[…] = …``.

    >>> Conv3x3(4, 8)(torch.rand(1, 4, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    _kept = None  # the weights' state, some of them, and all of them transformed

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        if not _is_plain(images):
            return super().forward(images)
        dtype = images.dtype
        if torch.is_autocast_enabled("cpu") and dtype != torch.float64:
            dtype = torch.get_autocast_dtype("cpu")
        elif dtype != self.weight.dtype:
            return super().forward(images)
        if not self._needs_no_gradient(images) or not winograd_applies(self, images, MIN_TILES, dtype):
            return super().forward(images)
        bias = None if self.bias is None else self.bias.detach().to(dtype)
        with torch.autocast("cpu", enabled=False):
            return convolve_transformed(images.to(dtype), self._transformed(dtype), bias)

    def _needs_no_gradient(self, images: Tensor) -> bool:
        of = images, self.weight, self.bias
        return not torch.is_grad_enabled() or not any(one is not None and one.requires_grad for one in of)

    def _transformed(self, dtype: torch.dtype) -> Tensor:
        weight = self.weight.detach()
        some = self._some(weight)
        state = dtype, weight.data_ptr(), 0 if weight.is_inference() else weight._version
        kept = self._kept  # of one moment: other threads may replace it
        if kept is None or kept[0] != state or not torch.equal(kept[1], some):
            self._kept = kept = state, some, transform_weights(weight, dtype)
        return kept[2]

    def _some(self, weight: Tensor) -> Tensor:
        """A weight of each filter and channel, of each of the nine places in turn."""
        above, below = weight.shape[:2]
        each = torch.arange(max(above, below), device=weight.device)
        return weight[each % above, each % below, each % 3, each // 3 % 3]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def __prepare_scriptable__(self) -> nn.Conv2d:
        """For torch.jit.script: the layer that it is one of."""
        plain = copy.copy(self)
        plain.__class__ = nn.Conv2d  # type: ignore[assignment]
        return plain


def use_winograd(network: nn.Module) -> None:
    """Make a :class:`Conv3x3` of each convolution of a network that could be one; its weights stay where they are.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1))
    >>> use_winograd(network)
    >>> [type(layer).__name__ for layer in network]
    ['Conv3x3', 'Conv2d']
    """
    for layer in network.modules():
        if (
            type(layer) is nn.Conv2d  # others have their own ways
            and layer.kernel_size == (3, 3)
            and layer.padding in (1, (1, 1))
            and layer.padding_mode == "zeros"
            and (layer.stride, layer.dilation, layer.groups) == ((1, 1), (1, 1), 1)
        ):
            layer.__class__ = Conv3x3


def _is_plain(images: Tensor) -> bool:
    """A batch on a CPU, computed as it stands: a graph that is exported has a convolution."""
    return type(images) is Tensor and images.ndim == 4 and images.device.type == "cpu" and not is_traced()


def winograd_applies(layer: nn.Conv2d, images: Tensor, tiles: int, dtype: torch.dtype | None = None) -> bool:
    """Whether a 3×3 convolution of these images, on a CPU, takes less time so.

    Args:
        layer: its channels are asked for alone.
        images: ``(B, C, H, W)``.
        tiles: how many there must be.
        dtype: in which it is computed; ``None``: the images'.
    """
    dtype = dtype or images.dtype
    count = len(images) * -(-images.shape[-2] // 2) * -(-images.shape[-1] // 2)
    channels = min(layer.in_channels, layer.out_channels)
    return winograd_is_faster(dtype) and channels >= MIN_CHANNELS[dtype] and count >= tiles


def winograd_is_faster(dtype: torch.dtype) -> bool:
    """Whether processors of this kind were found to be quicker so: x86 in float32, and in bfloat16 where the vector
    unit multiplies it. AMX multiplies it so fast that the sums would take longer than what they save.

    >>> winograd_is_faster(torch.float64)
    False
    """
    has = lambda name: bool(getattr(torch.cpu, f"_is_{name}_supported", bool)())  # noqa: E731
    if dtype == torch.bfloat16:
        return has("avx512_bf16") and not has("amx_tile")
    return dtype == torch.float32 and has("avx2")
