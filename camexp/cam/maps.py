"""Maps from activations and class weights (Zhou et al., CVPR 2016, eq. 1–2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.cam.memory import recycled


def class_activation_maps(activations: Tensor, weights: Tensor, labels: Tensor | None = None) -> Tensor:
    r"""One map for each image and class asked for, in one matrix product.

    .. math:: M_c(x, y) = \sum_d w_d^c A_d(x, y)

    The spatial mean of :math:`M_c` is the logit of class c (less its bias, where there is one).

    Args:
        activations: ``(B, D, h, w)``, what the head pools.
        weights: ``(C, D)``, the linear layer's, a row a class.
        labels: ``(B, K)`` integer classes, K for each image; ``None`` for all C.

    Returns:
        ``(B, K, h, w)`` raw maps (``K = C`` without labels), float32, of any sign.

    Raises:
        ValueError: shapes that do not fit.

    >>> activations = torch.rand(2, 8, 7, 7)
    >>> weights = torch.rand(5, 8)
    >>> maps = class_activation_maps(activations, weights)
    >>> maps.shape
    torch.Size([2, 5, 7, 7])
    >>> logits = activations.mean((2, 3)) @ weights.T
    >>> torch.allclose(maps.mean((2, 3)), logits, atol=1e-5)
    True
    """
    if activations.ndim != 4 or weights.ndim != 2 or activations.shape[1] != weights.shape[1]:
        raise ValueError(
            "activations (B, D, h, w) and weights (C, D) are expected, "
            f"got {tuple(activations.shape)} and {tuple(weights.shape)}"
        )
    if labels is not None and (labels.ndim != 2 or labels.shape[0] != activations.shape[0]):
        raise ValueError(f"labels (B, K) with B = {activations.shape[0]} are expected, got {tuple(labels.shape)}")
    activations, weights = activations.float(), weights.float()
    with torch.autocast(activations.device.type, enabled=False):  # maps are float32 wherever they are made
        if labels is None:
            return torch.einsum("cd,bdhw->bchw", weights, activations)
        return torch.einsum("bkd,bdhw->bkhw", weights[labels], activations)


def upsample(maps: Tensor, size: tuple[int, int], out: Tensor | None = None) -> Tensor:
    """Maps at the resolution of an image, bilinear, as in the paper.

    Args:
        maps: ``(B, K, h, w)``.
        size: ``(H, W)`` in pixels.
        out: where to put them, ``(B, K, H, W)`` of the maps' dtype.

    Returns:
        ``(B, K, H, W)``.

    >>> upsample(torch.zeros(1, 2, 7, 7), (50, 60)).shape
    torch.Size([1, 2, 50, 60])
    """
    # as two matrix products: the same weights as F.interpolate's, a quarter of its time for many maps
    rows, columns = (_linear_weights(have, want, maps) for have, want in zip(maps.shape[-2:], size, strict=True))
    with torch.autocast(maps.device.type, enabled=False):
        wide = maps @ columns.mT
        if out is None and not wide.requires_grad:
            out = recycled((*maps.shape[:-2], *size), like=maps)
        return torch.matmul(rows, wide, out=out)


def _linear_weights(have: int, want: int, like: Tensor) -> Tensor:
    """``(want, have)``: what each old sample counts for each new one, as F.interpolate weighs them."""
    identity = torch.eye(have, dtype=like.dtype, device=like.device)
    return F.interpolate(identity[None], size=want, mode="linear", align_corners=False)[0].mT


def min_max(maps: Tensor) -> Tensor:
    """Each map min-max normalised to [0, 1]; a constant map becomes zeros.

    Args:
        maps: ``(..., H, W)``.

    >>> min_max(torch.tensor([[[-1.0, 1.0], [0.0, 3.0]]]))
    tensor([[[0.0000, 0.5000],
             [0.2500, 1.0000]]])
    """
    return rescale(maps, maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True))


def rescale(maps: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``low`` becomes 0 and ``high`` 1; where ``high`` is not above ``low``, all is 0."""
    span = high - low
    return torch.where(span > 0, (maps - low) / torch.where(span > 0, span, torch.ones_like(span)), 0.0)
