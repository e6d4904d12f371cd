"""Poolings: from activations, or class maps, of all places of an image to one number each. Pure functions.

A class activation map is the same with each of them, :math:`M_c(x) = \\sum_k w_{ck} f_k(x)`. What differs is how
the map and the logit are tied, which each function says.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POOLS = ("gap", "tap", "lse", "gem", "attention")

GEM_EPSILON = 1e-6
POWER_EPSILON = 1e-6  # a mean of 0 has no finite factor, and no finite gradient


def require_pool(pool: str) -> str:
    """``pool``, where it is one.

    Raises:
        ValueError: it is not.
    """
    if pool not in POOLS:
        raise ValueError(f"pool={pool} is not known: expected one of {', '.join(POOLS)}")
    return pool


def average_pool(activations: Tensor) -> Tensor:
    r"""GAP: the mean over all places.

    .. math:: z_k = \frac{1}{hw} \sum_x f_k(x), \qquad \sum_k w_{ck} z_k = \frac{1}{hw} \sum_x M_c(x)

    The mean of a map is the logit exactly (less the bias). Source: Zhou et al., CVPR 2016, section 2.

    Args:
        activations: ``(B, D, h, w)``.

    Returns:
        ``(B, D)`` in float32 or finer, whatever the activations' dtype, as all poolings here.

    >>> average_pool(torch.tensor([[[[4.0, 2.0, 0.0]]]]))
    tensor([[2.]])
    """
    return activations.mean((2, 3), dtype=wide(activations))


def normalised(activations: Tensor, power: float = 1.0, norm: float | None = None) -> Tensor:
    r"""An image's activations, scaled channel by channel so that their means are power- and L2-normalised.

    .. math:: f'_k(x) = \frac{s \, |z_k|^{p-1}}{\lVert |z|^p \rVert_2} f_k(x), \qquad
        z_k = \frac{1}{hw} \sum_x f_k(x), \qquad
        \frac{1}{hw} \sum_x f'_k(x) = s \, \frac{\operatorname{sign}(z_k) |z_k|^p}{\lVert |z|^p \rVert_2}

    So neither a few strong channels nor an image's contrast outweigh the rest before the linear layer. As activations
    are scaled, and not their means alone, the mean of a map stays the logit. Source: Perronnin et al., *Improving the
    Fisher kernel for large-scale image classification*, ECCV 2010, sections 3.1 and 3.2.

    Args:
        activations: ``(B, D, h, w)``.
        power: p, above 0 up to 1; 1/2 is the square root. Means closer to 0 than 1e-6 stay nearly there.
        norm: s, above 0; ``None``: without the fraction, the means are :math:`\operatorname{sign}(z_k) |z_k|^p`.

    Returns:
        ``(B, D, h, w)`` in the same dtype; an image of zeros stays one.

    >>> activations = torch.tensor([[[[2.0, 16.0]], [[8.0, 24.0]]]])  # of the means 9 and 16
    >>> normalised(activations, power=0.5, norm=10.0).mean((2, 3))  # as 3 to 4
    tensor([[6., 8.]])
    """
    factors = _factors(average_pool(activations), power, norm)
    return activations * factors[:, :, None, None].to(activations.dtype)


def normalised_means(means: Tensor, power: float = 1.0, norm: float | None = None) -> Tensor:
    """What :func:`normalised` makes of the means ``(B, D)`` of activations.

    >>> normalised_means(torch.tensor([[9.0, 16.0]]), power=0.5, norm=10.0)
    tensor([[6., 8.]])
    """
    return means * _factors(means, power, norm)


def _factors(means: Tensor, power: float, norm: float | None) -> Tensor:
    factors = means.abs().clamp(min=POWER_EPSILON).pow(power - 1)
    if norm is None:
        return factors
    length = torch.linalg.vector_norm(means * factors, dim=1, keepdim=True)
    return factors * norm / length.clamp(min=POWER_EPSILON)


def thresholded_average_pool(activations: Tensor, threshold: float = 0.1) -> Tensor:
    r"""TAP: the mean over those places of a channel that exceed a share of its maximum.

    .. math:: z_k = \frac{\sum_x [f_k(x) > \tau_k] \, f_k(x)}{\sum_x [f_k(x) > \tau_k]}, \qquad
        \tau_k = \theta \max_x f_k(x)

    Each channel has places of its own, so that map and logit are not tied: of activations of 0 or more, where channel k
    has the share :math:`s_k` of its places above its threshold,

    .. math:: \left| \sum_k w_{ck} z_k - \frac{1}{hw} \sum_x M_c(x) \right| \le \sum_k |w_{ck}| \, (1 - s_k) \, z_k

    Source: Bae et al., *Rethinking class activation mapping for weakly supervised object localization*, ECCV 2020,
    section 3.1.

    Args:
        activations: ``(B, D, h, w)``. A channel that is nowhere above its threshold, as one of zeros or of negative
            values, gives 0.
        threshold: θ, from 0 to less than 1; 0 is the mean of the positive values.

    Returns:
        ``(B, D)``.

    >>> thresholded_average_pool(torch.tensor([[[[4.0, 2.0, 0.3, 0.0]]]]))
    tensor([[3.]])
    """
    values = activations.to(wide(activations))
    above = values > threshold * values.amax((2, 3), keepdim=True)
    return torch.where(above, values, 0.0).sum((2, 3)) / above.sum((2, 3)).clamp(min=1)


def generalised_mean_pool(activations: Tensor, p: float = 3.0) -> Tensor:
    r"""GeM: a power mean, from the mean (p = 1) towards the maximum.

    .. math:: z_k = \left( \frac{1}{hw} \sum_x \max(f_k(x), 10^{-6})^p \right)^{1/p}

    It acts on each channel by itself, so that map and logit are not tied: of activations of 0 or more, up to that
    :math:`10^{-6}`,

    .. math:: \left| \sum_k w_{ck} z_k - \frac{1}{hw} \sum_x M_c(x) \right|
        \le \left((hw)^{1 - 1/p} - 1\right) \sum_k |w_{ck}| \, \bar f_k

    Source: Radenović et al., *Fine-tuning CNN image retrieval with no human annotation*, TPAMI 2019, section 3.2, where
    p may be learnt; here it is fixed.

    Args:
        activations: ``(B, D, h, w)``; what is negative counts as :math:`10^{-6}`.
        p: 1 or more.

    Returns:
        ``(B, D)``.

    >>> generalised_mean_pool(torch.tensor([[[[6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]]]))
    tensor([[3.]])
    """
    values = activations.to(wide(activations))
    values = torch.maximum(values, values.new_tensor(GEM_EPSILON))  # not clamp, which an 8-bit graph would round to 0
    most = values.amax((2, 3), keepdim=True)  # taken out, so that no power leaves float32
    return most[:, :, 0, 0] * (values / most).pow(p).mean((2, 3)).pow(1 / p)


def log_sum_exp_pool(maps: Tensor, r: float = 5.0) -> Tensor:
    r"""LSE: a smooth maximum of class maps, from their mean (r towards 0) to their maximum (r towards infinity).

    .. math:: z_c = \frac{1}{r} \log \frac{1}{hw} \sum_x \exp(r \, M_c(x))

    Of class maps, and not of activations: the logit is this of the map exactly (plus the bias). Between the map's mean
    and its maximum, it exceeds the mean by :math:`\tfrac{r}{2}` times the variance, to second order.
    Source: Pinheiro and Collobert, *From image-level to pixel-level labeling with convolutional networks*, CVPR 2015,
    section 3.2.

    Args:
        maps: ``(B, C, h, w)``, raw.
        r: more than 0.

    Returns:
        ``(B, C)``.

    >>> log_sum_exp_pool(torch.tensor([[[[2.0, 2.0]], [[1.0, 0.0]]]]))
    tensor([[2.0000, 0.8627]])
    """
    values = maps.to(wide(maps)).flatten(2)
    most = values.amax(2, keepdim=True)  # taken out, so that no exponential leaves float32
    return most[..., 0] + (r * (values - most)).exp().mean(2).log() / r


def attention(activations: Tensor, v: Tensor, w: Tensor, u: Tensor | None = None) -> Tensor:
    r"""The share of each place, learnt: positive, and 1 in sum over an image.

    .. math:: a(x) = \operatorname{softmax}_x \, w^\top \left( \tanh(V f(x)) \odot \sigma(U f(x)) \right)

    Args:
        activations: ``(B, D, h, w)``.
        v: V, ``(L, D)``.
        w: ``(L,)``.
        u: U of the gate, ``(L, D)``; ``None``: no gate, which is the factor :math:`\sigma(U f(x))`.

    Returns:
        ``(B, h, w)``. Source: Ilse et al., *Attention-based deep multiple instance learning*, ICML 2018, eq. 8 and 9.

    >>> shares = attention(torch.rand(2, 4, 3, 3), torch.rand(8, 4), torch.rand(8))
    >>> shares.shape, torch.allclose(shares.sum((1, 2)), torch.ones(2))
    (torch.Size([2, 3, 3]), True)
    """
    places = activations.to(wide(activations)).flatten(2).mT  # (B, n, D)
    hidden = torch.tanh(F.linear(places, v.to(places.dtype)))
    if u is not None:
        hidden = hidden * torch.sigmoid(F.linear(places, u.to(places.dtype)))
    scores = hidden @ w.to(places.dtype)
    return scores.softmax(1).unflatten(1, activations.shape[2:])


def attention_pool(activations: Tensor, shares: Tensor) -> Tensor:
    r"""The mean over all places, weighted.

    .. math:: z_k = \sum_x a(x) f_k(x), \qquad \sum_k w_{ck} z_k = \sum_x a(x) M_c(x)

    The mean of a map with these weights is the logit exactly (less the bias), for all classes with the same ones.

    Args:
        activations: ``(B, D, h, w)``.
        shares: ``(B, h, w)``, see :func:`attention`.

    Returns:
        ``(B, D)``.

    >>> attention_pool(torch.tensor([[[[4.0, 0.0]]]]), torch.tensor([[[0.75, 0.25]]]))
    tensor([[3.]])
    """
    values = activations.to(shares.dtype).flatten(2)
    return (values @ shares.flatten(1)[:, :, None])[..., 0]


def wide(values: Tensor) -> torch.dtype:
    """What is pooled in: never half precision, for what ties a map to its logit holds to float32's rounding."""
    return torch.promote_types(values.dtype, torch.float32)
