"""3×3 convolutions with four ninths of the multiplications, where nothing trains and a CPU computes.

Winograd's minimal filtering F(2×2, 3×3): Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR
2016, equation 13: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for each tile of 2×2 outputs, summed over the channels: 16 products
instead of 36. VGG-16's features of photographs are off by 0.5 millionths in float32 (1.0 with the library's convolutions),
by 1.5 % in bfloat16 (1.05 %; benchmarks/RESULTS.md).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_CHANNELS, MIN_TILES = 128, 16  # with fewer the sums before and after take more than the products save

_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def transform_weights(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """G g Gᵀ of each pair of channels.

    Args:
        weight: ``(K, C, 3, 3)``.
        dtype: of the result; sums are in float32 or finer.

    Returns:
        ``(16, C, K)``.

    >>> transform_weights(torch.ones(6, 4, 3, 3), torch.float32).shape
    torch.Size([16, 4, 6])
    """
    exact = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    g = torch.tensor(_G, dtype=exact.dtype)
    with torch.autocast("cpu", enabled=False):
        products = torch.kron(g, g) @ exact.permute(2, 3, 1, 0).reshape(9, -1)
    return products.view(16, weight.shape[1], weight.shape[0]).to(dtype)


def convolve_transformed(images: Tensor, transformed: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(images, weight, bias, padding=1)`` of transformed weights.

    Args:
        images: ``(B, C, H, W)``; quickest in the memory format channels_last.
        transformed: :func:`transform_weights` of ``(K, C, 3, 3)``, of the images' dtype.
        bias: ``(K,)``.

    Returns:
        ``(B, K, H, W)``, channels_last.

    >>> images, weight = torch.rand(1, 4, 5, 6), torch.rand(8, 4, 3, 3)
    >>> found = convolve_transformed(images, transform_weights(weight, torch.float32))
    >>> torch.allclose(found, F.conv2d(images, weight, padding=1), atol=1e-5)
    True
    """
    count, channels, height, width = images.shape
    down, across = -(-height // 2), -(-width // 2)  # tiles
    below = 1, 1 + 2 * down - height
    beside = 1, 1 + 2 * across - width
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, *beside, *below))

    d = [padded[:, i : i + 2 * down - 1 : 2] for i in range(4)]  # row i of all tiles
    tiles = images.new_empty(16, count, down, across, channels)
    for i, row in enumerate((d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3])):
        e = [row[:, :, j : j + 2 * across - 1 : 2] for j in range(4)]
        torch.sub(e[0], e[2], out=tiles[4 * i])
        torch.add(e[1], e[2], out=tiles[4 * i + 1])
        torch.sub(e[2], e[1], out=tiles[4 * i + 2])
        torch.sub(e[1], e[3], out=tiles[4 * i + 3])

    products = torch.bmm(tiles.view(16, -1, channels), transformed)
    if bias is not None:
        products[5] += bias  # the one that all four outputs have once
    m = products.view(4, 4, count, down, across, -1)
    outputs = images.new_empty(count, down, 2, across, 2, m.shape[-1])
    for i, row in enumerate(((m[0] + m[1]).add_(m[2]), (m[1] - m[2]).sub_(m[3]))):
        torch.add(row[0].add_(row[1]), row[2], out=outputs[:, :, i, :, 0])
        torch.sub(row[1].sub_(row[2]), row[3], out=outputs[:, :, i, :, 1])
    whole = outputs.view(count, 2 * down, 2 * across, -1)[:, :height, :width].permute(0, 3, 1, 2)
    return whole.contiguous(memory_format=torch.channels_last)


class Conv3x3(nn.Conv2d):
    """``nn.Conv2d`` with stride and padding 1, which takes the shorter way where that is one and nothing needs a
    gradient.

    >>> Conv3x3(4, 8)(torch.rand(1, 4, 5, 6)).shape
    torch.Size([1, 8, 5, 6])
    """

    _kept: tuple[Any, Tensor, Tensor] | None = None

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
        if not self._is_shorter(images, dtype):
            return super().forward(images)
        bias = None if self.bias is None else self.bias.to(dtype)
        with torch.autocast("cpu", enabled=False):
            return convolve_transformed(images.to(dtype), self._transformed(dtype), bias)

    def _is_shorter(self, images: Tensor, dtype: torch.dtype) -> bool:
        if type(images) is not Tensor or images.device.type != "cpu" or torch.compiler.is_compiling():
            return False  # a graph that is exported is a convolution
        if torch.is_grad_enabled() and (images.requires_grad or self.weight.requires_grad):
            return False
        tiles = len(images) * -(-images.shape[-2] // 2) * -(-images.shape[-1] // 2)
        return min(self.in_channels, self.out_channels) >= MIN_CHANNELS and tiles >= MIN_TILES and is_quicker(dtype)

    def _transformed(self, dtype: torch.dtype) -> Tensor:
        """Kept until the weights are others: by their version, and by some of them, for ``weight.data`` has none."""
        weight = self.weight.detach()
        step = max(1, weight.numel() // 256)
        some = weight.as_strided((weight.numel() // step,), (step,))  # in whatever order they lie in memory
        state = dtype, weight.data_ptr(), 0 if weight.is_inference() else weight._version
        if self._kept is None or self._kept[0] != state or not torch.equal(self._kept[1], some):
            self._kept = state, some.clone(), transform_weights(weight, dtype)
        return self._kept[2]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


def shorten(network: nn.Module) -> None:
    """Make a :class:`Conv3x3` of each convolution of a network that could be one; its weights stay where they are.

    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, stride=2, padding=1))
    >>> shorten(network)
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


def is_quicker(dtype: torch.dtype) -> bool:
    """Whether processors of this kind were found to be quicker so: x86 in float32, and in bfloat16 where the vector
    unit multiplies it. AMX multiplies it so fast that the sums would take longer than what they save.

    >>> is_quicker(torch.float64)
    False
    """
    has = lambda name: bool(getattr(torch.cpu, f"_is_{name}_supported", bool)())  # noqa: E731
    if dtype == torch.bfloat16:
        return has("avx512_bf16") and not has("amx_tile")
    return dtype == torch.float32 and has("avx2")
