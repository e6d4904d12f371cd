"""Pillow's bilinear resize, antialiased where it shrinks, as tensor arithmetic that every graph can hold."""

from __future__ import annotations

import PIL
import torch
from torch import Tensor, nn

PRECISION = 2.0**22  # Pillow's weights are whole multiples of its inverse
COLUMNS_FIRST = int(PIL.__version__.partition(".")[0]) >= 13  # there images that lose much height begin with that


class PillowResize(nn.Module):
    """``(B, 3, H, W)`` bytes at another size, bit for bit as ``Image.resize(…, BILINEAR)`` of the Pillow installed.

    Two matrix products in float64, each rounded to whole levels as Pillow does (``Resample.c``): its fixed-point sums
    stay below 2⁵³, so that float64 holds them exactly. Other resizes, even antialiased ones, do not round between the
    two passes and differ by a level in many pixels.

    Args:
        height, width: of the result.
        columns_first: whether an image that loses more than twice as many rows as columns is made lower before it is
            made narrower, as Pillow does from version 13 on (pull request 9549): a level's difference in some pixels.

    >>> import numpy as np
    >>> from PIL import Image
    >>> pixels = np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)
    >>> theirs = np.asarray(Image.fromarray(pixels).resize((48, 64), Image.Resampling.BILINEAR))
    >>> ours = PillowResize(64, 48)(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    >>> bool((ours.numpy() == theirs).all())
    True
    """

    def __init__(self, height: int, width: int, columns_first: bool = COLUMNS_FIRST):
        super().__init__()
        self.height, self.width, self.columns_first = height, width, columns_first

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, height, width)`` float64, whole levels from 0 to 255, of ``(B, 3, H, W)`` uint8."""
        levels = image.double()
        rows, columns = levels[0, 0, 0], levels[0, 0, :, 0]
        along, down = triangle_weights(rows, self.width), triangle_weights(columns, self.height)
        result = _resized(_resized(levels, along).mT, down).mT
        if not self.columns_first:
            return result
        # a graph has no branches for sizes it does not know yet: both orders, and a choice
        fewer_rows, fewer_columns = _count(columns) - self.height, _count(rows) - self.width
        lower = (fewer_rows > 0) & (fewer_rows > 2 * fewer_columns)
        return torch.where(lower, _resized(_resized(levels.mT, down).mT, along), result)


def triangle_weights(line: Tensor, want: int) -> Tensor:
    """What each old sample counts for each new one, ``(have, want)`` float64, in multiples of 2⁻²².

    Args:
        line: any tensor of ``have`` samples: a length as a tensor stays free in a graph.
        want: how many new samples.

    >>> triangle_weights(torch.zeros(4), 2)
    tensor([[0.4286, 0.0000],
            [0.4286, 0.1429],
            [0.1429, 0.4286],
            [0.0000, 0.4286]], dtype=torch.float64)
    """
    # the new samples are columns: onnxruntime has no product of float64 with a transposed matrix
    place = (torch.ones_like(line, dtype=torch.float64).cumsum(0) - 1)[:, None]  # 0, 1, 2 …
    scale = _count(line) / want
    reach = scale.clamp(min=1.0)  # an enlarged image is interpolated, a reduced one averaged
    centre = (torch.arange(want, dtype=torch.float64) + 0.5) * scale
    inside = (place >= (centre - reach + 0.5).floor()) & (place < (centre + reach + 0.5).floor())
    weights = (1 - ((place - centre + 0.5) / reach).abs()).clamp(min=0) * inside
    return (weights / weights.sum(0) * PRECISION + 0.5).floor() / PRECISION


def _count(line: Tensor) -> Tensor:
    return torch.ones_like(line, dtype=torch.float64).sum()


def _resized(levels: Tensor, weights: Tensor) -> Tensor:
    """``(B, 3, h, have)`` to ``(B, 3, h, want)``, whole levels; as a product of two matrices, for older tracers."""
    summed = levels.flatten(0, 2) @ weights
    return (summed + 0.5).floor().clamp(0, 255).unflatten(0, levels.shape[:3])
