"""Cells of an image, which a head weighs apart. Pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from camexp.models.pooling import wide


def in_cells(activations: Tensor, cells: int) -> Tensor:
    r"""Activations apart by where they are in the image, so that a linear layer weighs each cell for itself.

    .. math:: f_{k,i,j}(x, y) = t_i(y) \, t_j(x) \, f_k(x, y)

    :math:`t_i` is the weight that linear interpolation gives the middle of the i-th of n equal parts: 1 there, falling
    to 0 at the middles beside it, 1 in sum over i everywhere. So the class weights at a place are those of the n×n
    cells, interpolated bilinearly: a map has no seams, and all that follows of global average pooling holds. The means
    are those of a spatial pyramid's level (Lazebnik et al., CVPR 2006) with soft borders.

    Args:
        activations: ``(B, D, h, w)``.
        cells: n, 1 or more.

    Returns:
        ``(B, n² · D, h, w)``, the cells row by row, each with all channels.

    >>> in_cells(torch.ones(1, 1, 2, 4), 2)[0, :, 0]
    tensor([[1.0000, 0.7500, 0.2500, 0.0000],
            [0.0000, 0.2500, 0.7500, 1.0000],
            [0.0000, 0.0000, 0.0000, 0.0000],
            [0.0000, 0.0000, 0.0000, 0.0000]])
    """
    where = _cells(activations, cells).to(activations.dtype)
    return (where[:, None] * activations.contiguous()[:, None]).flatten(1, 2)


def cell_means(activations: Tensor, cells: int) -> Tensor:
    """The means ``(B, n² · D)`` of :func:`in_cells`, as one matrix product.

    >>> from camexp.models.pooling import average_pool
    >>> activations = torch.rand(2, 8, 5, 7)
    >>> torch.allclose(cell_means(activations, 3), average_pool(in_cells(activations, 3)))
    True
    """
    values = activations.to(wide(activations)).flatten(2)
    where = _cells(activations, cells).flatten(1)
    with torch.autocast(activations.device.type, enabled=False):
        return torch.matmul(where, values.mT).flatten(1) / where.shape[1]


def _cells(activations: Tensor, cells: int) -> Tensor:
    """``(cells², h, w)``: how much of each place is a cell's, 1 in sum over the cells, in float32 or finer."""
    rows, columns = (_shares(side, cells, activations) for side in activations.shape[-2:])
    return (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)


def _shares(side: int, cells: int, like: Tensor) -> Tensor:
    """The same along one side: ``(cells, side)``."""
    places = torch.arange(side, device=like.device, dtype=wide(like))
    places = ((places + 0.5) * cells / side - 0.5).clamp(0, cells - 1)
    distances = (places - torch.arange(cells, device=like.device)[:, None]).abs()
    return (1 - distances).clamp(min=0)
