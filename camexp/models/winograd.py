"""3×3 convolutions with four ninths of the multiplications.

Winograd's minimal filtering F(2×2, 3×3): Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks*, CVPR
2016, equation 13: Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A for each tile of 2×2 outputs, summed over the channels: 16 products
instead of 36. VGG-16's features of photographs are off by 0.5 millionths in float32 (1.0 with the library's own way),
by 1.5 % in bfloat16 (1.05 %; benchmarks/RESULTS.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SCRATCH_BYTES = 16 * 2**20  # of tiles, and of products, at most, if a row of tiles has no more

_G = ((1.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.0, 0.0, 1.0))


def transform_weights(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """G g Gᵀ of each pair of channels.

    Args:
        weight: ``(K, C, 3, 3)``.
        dtype: of the result; sums are in float32 or finer.

    Returns:
        ``(16, K, C)``.

    >>> transform_weights(torch.ones(6, 4, 3, 3), torch.float32).shape
    torch.Size([16, 6, 4])
    """
    exact = weight.detach().to(torch.promote_types(weight.dtype, torch.float32))
    g = torch.tensor(_G, dtype=exact.dtype, device=exact.device)
    with torch.autocast("cpu", enabled=False):
        products = torch.kron(g, g) @ exact.permute(2, 3, 0, 1).reshape(9, -1)
    return products.view(16, *weight.shape[:2]).to(dtype)


def transform_images(images: Tensor) -> Tensor:
    """Bᵀ d B of the 4×4 places below each 2×2 outputs of a convolution with padding 1.

    Args:
        images: ``(B, C, H, W)``; quickest in the memory format channels_last.

    Returns:
        ``(16, T, C)`` of all images' T = B ⌈H/2⌉ ⌈W/2⌉ tiles.

    >>> transform_images(torch.ones(2, 4, 5, 6)).shape
    torch.Size([16, 18, 4])
    """
    padded, down, across = _pad(images)
    tiles = images.new_empty(16, len(images) * down * across, images.shape[1])
    _transform_rows(padded, tiles.view(4, 4, len(images), down, across, -1))
    return tiles


def transform_products(products: Tensor, size: Sequence[int], bias: Tensor | None = None) -> Tensor:
    """Aᵀ m A, the 2×2 outputs of each tile.

    Args:
        products: ``(16, T, K)``; not kept.
        size: ``(B, C, H, W)`` of the images.
        bias: ``(K,)``.

    Returns:
        ``(B, K, H, W)``, channels_last.
    """
    count, _, height, width = size
    down, across = -(-height // 2), -(-width // 2)
    outputs, tiled = _new_outputs(products, count, down, across, products.shape[-1])
    _add_products(products, bias, tiled)
    return _cut(outputs, height, width)


def convolve_transformed(images: Tensor, transformed: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(images, weight, bias, padding=1)`` of transformed weights, some rows at a time, for in between
    there is four times as much as goes in.

    Args:
        images: ``(B, C, H, W)``.
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
    padded, down, across = _pad(images)
    above = transformed.shape[1]
    outputs, tiled = _new_outputs(images, count, down, across, above)
    row = 16 * count * across * max(channels, above) * images.element_size()
    most = max(1, SCRATCH_BYTES // max(1, row))
    for top in range(0, down, most):
        rows = min(most, down - top)
        tiles = _scratch("tiles", images, 16, count * rows * across, channels)
        products = _scratch("products", images, 16, count * rows * across, above)
        _transform_rows(padded[:, 2 * top :], tiles.view(4, 4, count, rows, across, channels))
        torch.bmm(tiles, transformed.mT, out=products)
        _add_products(products, bias, tiled[:, top : top + rows])
    return _cut(outputs, height, width)


def _pad(images: Tensor) -> tuple[Tensor, int, int]:
    """``(B, H', W', C)`` of whole tiles and what is around them; tiles down and across."""
    height, width = images.shape[-2:]
    down, across = -(-height // 2), -(-width // 2)
    beyond = 1, 1 + 2 * across - width, 1, 1 + 2 * down - height
    return F.pad(images.permute(0, 2, 3, 1), (0, 0, *beyond)), down, across


def _transform_rows(padded: Tensor, tiles: Tensor) -> None:
    """Bᵀ d B into ``tiles``, ``(4, 4, B, rows, columns, C)``, from the first place of the first row on."""
    count, down, across, channels = tiles.shape[2:]
    wide = 2 * across + 2
    rows = _scratch("rows", tiles, 4, count, down, wide, channels)
    d = [padded[:, i : i + 2 * down - 1 : 2, :wide] for i in range(4)]  # row i of all tiles
    _transform(d, rows)
    e = [rows[:, :, :, j : j + 2 * across - 1 : 2] for j in range(4)]
    _transform(e, tiles.transpose(0, 1))


def _transform(d: Sequence[Tensor], transformed: Tensor) -> None:
    """Bᵀ d."""
    torch.sub(d[0], d[2], out=transformed[0])
    torch.add(d[1], d[2], out=transformed[1])
    torch.sub(d[2], d[1], out=transformed[2])
    torch.sub(d[1], d[3], out=transformed[3])


def _add_products(products: Tensor, bias: Tensor | None, outputs: Tensor) -> None:
    """Aᵀ m A into ``outputs``, ``(B, rows, 2, columns, 2, K)``; ``products`` are used up."""
    if bias is not None:
        products[5] += bias  # the one that all four outputs have once
    count, down, _, across, _, channels = outputs.shape
    m = products.view(4, 4, count, down, across, channels)
    sums = m[0].add_(m[1]).add_(m[2]), m[1].sub_(m[2]).sub_(m[3])
    for i, row in enumerate(sums):
        torch.add(row[0].add_(row[1]), row[2], out=outputs[:, :, i, :, 0])
        torch.sub(row[1].sub_(row[2]), row[3], out=outputs[:, :, i, :, 1])


def _new_outputs(like: Tensor, count: int, down: int, across: int, channels: int) -> tuple[Tensor, Tensor]:
    """``(B, K, H', W')`` in channels_last, and the same memory as ``(B, rows, 2, columns, 2, K)``."""
    size = count, channels, 2 * down, 2 * across
    whole = torch.empty(size, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
    return whole, whole.permute(0, 2, 3, 1).view(count, down, 2, across, 2, channels)


def _cut(outputs: Tensor, height: int, width: int) -> Tensor:
    if outputs.shape[-2:] == (height, width):
        return outputs
    return outputs[..., :height, :width].contiguous(memory_format=torch.channels_last)


_thread = threading.local()


def _scratch(name: str, like: Tensor, *size: int) -> Tensor:
    """Memory of this thread, the same for all layers: of new memory the system clears every page first."""
    buffers: dict[tuple[str, torch.dtype], Tensor] = _thread.__dict__.setdefault("buffers", {})
    key, count = (name, like.dtype), math.prod(size)
    if key not in buffers or len(buffers[key]) < count:
        with torch.inference_mode(False):  # one that may be written in any mode
            buffers[key] = torch.empty(count, dtype=like.dtype, device=like.device)
    return buffers[key][:count].view(size)


def weight_gradient(tiles: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the weights, from that of the outputs: Gᵀ[Σ (Bᵀ d B)(A y Aᵀ)]G, in 16 products instead of 36.

    Args:
        tiles: :func:`transform_images` of the images.
        gradient: ``(B, K, H, W)``.

    Returns:
        ``(K, C, 3, 3)``, float32 or finer.
    """
    count, channels, height, width = gradient.shape
    down, across = -(-height // 2), -(-width // 2)
    padded = F.pad(gradient.permute(0, 2, 3, 1), (0, 0, 0, 2 * across - width, 0, 2 * down - height))
    y = padded.view(count, down, 2, across, 2, channels)
    spread = gradient.new_empty(4, 4, count, down, across, channels)
    for i, row in enumerate((y[:, :, 0], y[:, :, 0] + y[:, :, 1], y[:, :, 0] - y[:, :, 1], -y[:, :, 1])):
        left, right = row[:, :, :, 0], row[:, :, :, 1]
        spread[i, 0] = left
        torch.add(left, right, out=spread[i, 1])
        torch.sub(left, right, out=spread[i, 2])
        torch.neg(right, out=spread[i, 3])
    products = torch.bmm(spread.view(16, -1, channels).mT, tiles)
    exact = products.to(torch.promote_types(products.dtype, torch.float32))
    g = torch.tensor(_G, dtype=exact.dtype, device=exact.device)
    weights = torch.kron(g, g).T @ exact.view(16, -1)
    return weights.view(3, 3, channels, -1).permute(2, 3, 0, 1)
