"""Maps made to follow the object's outline, by what places look like each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.cam.maps import upsample

MOST_PAIRS = 2**25  # of places at a time: 128 MB


def average_over_alike(maps: Tensor, features: Tensor, power: float = 1.0) -> Tensor:
    r"""Each place of a map takes the mean of all places of its image, weighted by how alike their features are.

    .. math:: M'(i) = \frac{\sum_j a_{ij} M(j)}{\sum_j a_{ij}}, \qquad
        a_{ij} = \max\left(0, \frac{f_i \cdot f_j}{\lVert f_i \rVert \lVert f_j \rVert}\right)^\beta

    :math:`f_i` are the features of a place less their mean over the image: what all places share makes none alike.
    Parts of an object that look alike are lit alike, and what looks like the background is not; of features finer than
    the map, the map becomes as fine. A map's mean changes: it is no class's logit any more. Where a place has the
    mean's features, it keeps its value. Time grows with the square of the number of places.

    Source: one step of the random walk of Ahn and Kwak, *Learning pixel-level semantic affinity*, CVPR 2018, eq. 5 and
    6; there the affinities are learnt, here they are cosines of the network's own features.

    Args:
        maps: ``(B, K, h, w)`` raw, of any unit; upsampled bilinearly to the features' size.
        features: ``(B, D, H, W)``.
        power: β; the higher, the fewer places count.

    Returns:
        ``(B, K, H, W)`` float32, in the maps' unit and within their range; NaN throughout an image whose features are
        not finite.

    Raises:
        ValueError: shapes that do not fit.

    >>> maps = torch.tensor([[[[4.0, 0.0, 0.0, 0.0]]]])
    >>> features = torch.tensor([[[[1.0, 1.0, 0.0, 0.0]], [[0.0, 0.0, 2.0, 3.0]]]])  # the first two places are alike
    >>> average_over_alike(maps, features)[0, 0, 0, 1:3]
    tensor([2., 0.])
    """
    if maps.ndim != 4 or features.ndim != 4 or len(maps) != len(features):
        raise ValueError(
            "maps (B, K, h, w) and features (B, D, H, W) are expected, "
            f"got {tuple(maps.shape)} and {tuple(features.shape)}"
        )
    size = features.shape[2], features.shape[3]
    values = upsample(maps.float(), size).flatten(2).mT  # (B, n, K)
    with torch.autocast(features.device.type, enabled=False):
        places = features.float().flatten(2).mT  # (B, n, D)
        places = F.normalize(places - places.mean(1, keepdim=True), dim=2)
        rows = max(1, MOST_PAIRS // places.shape[1])
        images = [
            torch.cat([_averages(some, one, own, power) for some in one.split(rows)])
            for one, own in zip(places, values, strict=True)
        ]
    refined = torch.stack(images) if images else values
    return torch.where(places.norm(dim=2, keepdim=True) == 0, values, refined).mT.unflatten(2, size)


def _averages(some: Tensor, places: Tensor, values: Tensor, power: float) -> Tensor:
    """For ``(m, D)`` of the ``(n, D)`` places, weighted means of ``(n, K)``."""
    alike = (some @ places.mT).clamp_(min=0)
    alike = alike if power == 1 else alike.pow_(power)
    return (alike @ values) / alike.sum(1, keepdim=True).clamp(min=torch.finfo(alike.dtype).tiny)
