"""PC1: the first principal component of an image's own activations, where CAM has the class's weights."""

from __future__ import annotations

import torch
from torch import Tensor

from camexp.methods.registry import METHODS, ForwardPass, OfPass, without_layer
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.result import CAMResult

UNDECIDED = 1e-6  # a correlation below this is rounding, and says nothing of a sign


def first_principal_components(activations: Tensor, cams: Tensor) -> Tensor:
    r"""The projection of each place's activations on the image's first principal component, signed by a CAM.

    .. math:: P_c(x, y) = s_c \sum_d u_d \, (A_d(x, y) - \bar A_d), \qquad
        u = \arg\max_{\lVert u \rVert = 1} \sum_{x, y} \left(\sum_d u_d \, (A_d(x, y) - \bar A_d)\right)^2

    :math:`\bar A_d` is the mean over the places of this image, and :math:`s_c = \pm 1` makes the correlation of
    :math:`P_c` with the class's CAM positive. Where that CAM is constant, the mean of the activations over the channels
    takes its place; where that is constant too, the place of the largest magnitude is positive. Maps of several classes
    of an image therefore differ in sign only, and no map is a class's score: each has mean zero, whatever the logit.

    The component is exact, from the eigenvectors of the smaller of the two Gram matrices (places × places, channels ×
    channels) in float64, whatever the activations' dtype. Where two components are equally strong, it is one of them.

    Source: Wei et al., *Unsupervised object discovery and co-localization by deep descriptor transforming*, Pattern
    Recognition 2019, whose component is one of many images of a class together; of each image by itself in place of its
    CAM: Yasuki and Taki, *CAM Back Again*, CVPR 2024.

    Args:
        activations: ``(B, D, h, w)``, what the head pools.
        cams: ``(B, K, h, w)`` raw, of K classes each.

    Returns:
        ``(B, K, h, w)`` raw maps, float32, of any sign, in the activations' unit. Zeros where all places of an image
        have the same activations; NaN throughout an image whose activations are not finite.

    Raises:
        ValueError: shapes that do not fit.

    >>> activations = torch.tensor([[[[3.0, 0.0, 0.0]], [[4.0, 0.0, 0.0]]]])  # two channels, one bright place of three
    >>> bright = torch.tensor([[[[2.0, 0.0, -1.0]]]])
    >>> first_principal_components(activations, torch.cat([bright, -bright], 1))
    tensor([[[[ 3.3333, -1.6667, -1.6667]],
             [[-3.3333,  1.6667,  1.6667]]]])
    """
    if activations.ndim != 4 or cams.ndim != 4 or (activations[:, 0].shape != cams[:, 0].shape):
        raise ValueError(
            "activations (B, D, h, w) and CAMs (B, K, h, w) are expected, "
            f"got {tuple(activations.shape)} and {tuple(cams.shape)}"
        )
    device = torch.device("cpu") if activations.device.type == "mps" else activations.device  # MPS has no float64
    places = activations.to(device, torch.float64).flatten(2).mT  # (B, n, D)
    component = _projections(places - places.mean(1, keepdim=True))[:, None]
    maps = component * _signs(component, cams.to(device, torch.float64).flatten(2), places.mean(2)[:, None])
    return maps.reshape(cams.shape).to(cams.device, torch.float32)


def _projections(centred: Tensor) -> Tensor:
    """Of ``(B, n, D)`` descriptors of mean zero on their first principal component: ``(B, n)``, of either sign."""
    few_places = centred.shape[1] <= centred.shape[2]
    gram = centred @ centred.mT if few_places else centred.mT @ centred
    finite = gram.isfinite().all(2).all(1)
    # one image that is not finite would end the decomposition of the whole batch
    values, vectors = torch.linalg.eigh(torch.where(finite[:, None, None], gram, 0.0))
    first = vectors[..., -1]  # eigenvalues ascend
    projections = first * values[:, -1:].clamp(min=0).sqrt() if few_places else (centred @ first[..., None])[..., 0]
    return torch.where(finite[:, None], projections, torch.nan)


def _signs(component: Tensor, cams: Tensor, mean: Tensor) -> Tensor:
    """``(B, K, 1)`` of ±1: so components ``(B, 1, n)`` agree with the CAMs ``(B, K, n)``, or else with the mean."""
    peak = component.gather(2, component.abs().argmax(2, keepdim=True)).sign()
    signs = peak.expand(-1, cams.shape[1], -1)
    for reference in (mean, cams):
        # the component's mean is zero, so that this is the covariance
        product = (component * reference).sum(2, keepdim=True)
        size = component.norm(dim=2, keepdim=True) * reference.norm(dim=2, keepdim=True)
        signs = torch.where(product.abs() > UNDECIDED * size, product.sign(), signs)
    return signs


@torch.no_grad()
def pc1_of_pass(model: CAMClassifier, seen: ForwardPass, labels: LabelsLike = "predicted") -> CAMResult:
    """As :func:`pc1`, of what a forward pass computed."""
    result = model.explain_activations(seen.activations, labels)
    maps = first_principal_components(seen.activations, result.maps)
    return CAMResult(result.logits, maps, result.labels, result.classes)


PC1 = OfPass(pc1_of_pass)


def pc1(model: CAMClassifier, images: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
    """As :meth:`CAMClassifier.explain`, from one forward pass: :func:`first_principal_components` for the CAMs.

    The logits are the network's own; unlike CAM's, a map's mean is not its class's logit.

    >>> from camexp.models import Preprocessing
    >>> model = CAMClassifier("vgg11", ["duck", "llama"], Preprocessing((64, 64)), width=1 / 16).eval()
    >>> images = torch.rand(1, 3, 64, 96)
    >>> result = pc1(model, images, "all")
    >>> result.maps.shape, bool(result.maps.mean((2, 3)).abs().max() < 1e-6)
    (torch.Size([1, 2, 4, 6]), True)
    >>> torch.equal(result.logits, model.explain(images).logits)
    True
    """
    return PC1(model, images, labels)


METHODS["pc1"] = without_layer(PC1)
