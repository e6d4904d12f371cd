"""DDT: the first principal component of all images of a class together, where PC1 has each image's own."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from camexp.errors import UserError
from camexp.methods.registry import METHODS, ForwardPass, Layer, Method, OfPass, without_layer
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.result import CAMResult

MOST_BYTES = 8e9  # of all classes' second moments


@dataclass
class Moments:
    """Sums over all places of a class's images, in float64: enough for the components, whatever the number of images.

    Attributes:
        count: places.
        features, squares: ``(D,)`` sums of the descriptors, ``(D, D)`` of their outer products.
        cam, product: sums of the class's CAM, and ``(D,)`` of its product with the descriptors.

    >>> moments = Moments(2)
    >>> moments.add(torch.tensor([[[3.0, 0.0, 0.0]], [[4.0, 0.0, 0.0]]]), torch.tensor([[5.0, 0.0, 0.0]]))
    >>> mean, component = moments.first_component()
    >>> component
    tensor([0.6000, 0.8000], dtype=torch.float64)
    """

    channels: int
    count: int = 0
    cam: float = 0.0
    features: Tensor = field(init=False)
    squares: Tensor = field(init=False)
    product: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.features, self.product = (torch.zeros(self.channels, dtype=torch.float64) for _ in range(2))
        self.squares = torch.zeros(self.channels, self.channels, dtype=torch.float64)

    def add(self, features: Tensor, cam: Tensor) -> None:
        """One image's ``(D, h, w)`` and its CAM ``(h, w)``; one that is not finite is passed over."""
        places, weights = features.cpu().double().flatten(1), cam.cpu().double().flatten()
        if not (places.isfinite().all() and weights.isfinite().all()):
            return
        self.count += places.shape[1]
        self.features += places.sum(1)
        self.squares.addmm_(places, places.mT)
        self.cam += float(weights.sum())
        self.product += places @ weights

    def first_component(self) -> tuple[Tensor, Tensor]:
        """The mean ``(D,)`` and the first principal component ``(D,)``, of length 1, whose projections correlate with
        the CAMs; zeros where all places are the same."""
        count = max(self.count, 1)
        mean = self.features / count
        values, vectors = torch.linalg.eigh(self.squares / count - torch.outer(mean, mean))
        component = vectors[:, -1] if values[-1] > 0 else torch.zeros_like(mean)
        covariance = float(component @ (self.product / count - mean * (self.cam / count)))
        return mean, -component if covariance < 0 else component


class DDT:
    r"""Deep descriptor transforming: places of the trunk's features on the first principal component of their class.

    .. math:: P_c(x, y) = u_c^\top (f(x, y) - \bar f_c)

    :math:`\bar f_c` and :math:`u_c` are the mean and the first principal component of the descriptors of all images for
    which a map of class c is asked; the sign is the one in which the projections correlate with the class's CAMs over
    all of them. So images are looked at twice; of an image alone it is the first component of its own features. What is
    positive is the object, by the paper's convention, and a map's mean is no logit.

    Source: Wei et al., *Unsupervised object discovery and co-localization by deep descriptor transforming*, Pattern
    Recognition 2019, eq. 1 to 5.
    """

    def __init__(self) -> None:
        self._moments: dict[int, Moments] = {}
        self._components: dict[int, tuple[Tensor, Tensor]] = {}

    @torch.no_grad()
    def observe(self, model: CAMClassifier, seen: ForwardPass, labels: LabelsLike = "predicted") -> None:
        """The first look at some images and the classes whose maps will be asked for.

        Raises:
            UserError: more classes than fit into memory.
        """
        result, channels = model.explain_activations(seen.activations, labels), seen.features.shape[1]
        for features, cams, own in zip(seen.features, result.maps, result.labels.tolist(), strict=True):
            for cam, label in zip(cams, own, strict=True):
                if label not in self._moments:
                    if (len(self._moments) + 1) * channels**2 * 8 > MOST_BYTES:
                        raise UserError(
                            f"cam=ddt: {len(self._moments) + 1} classes of {channels}² moments are more than "
                            f"{MOST_BYTES / 1e9:g} GB: ask for fewer classes (label=), or take cam=pc1"
                        )
                    self._moments[label] = Moments(channels)
                self._moments[label].add(features, cam)
        self._components.clear()

    @torch.no_grad()
    def of(self, model: CAMClassifier, seen: ForwardPass, labels: LabelsLike = "predicted") -> CAMResult:
        """Logits, and maps ``(B, K, h, w)`` float32 in the features' unit."""
        result = model.explain_activations(seen.activations, labels)
        maps = torch.empty_like(result.maps)
        features = seen.features.cpu().double()
        for image, own in enumerate(result.labels.tolist()):
            for number, label in enumerate(own):
                mean, component = self._component(label)
                places = features[image] - mean[:, None, None]
                maps[image, number] = torch.einsum("dhw,d->hw", places, component).to(maps)
        return CAMResult(result.logits, maps, result.labels, result.classes)

    def _component(self, label: int) -> tuple[Tensor, Tensor]:
        if label not in self._components:
            if label not in self._moments:
                raise UserError("cam=ddt has not seen the images of that class: observe() comes before the maps")
            self._components[label] = self._moments[label].first_component()
        return self._components[label]


def _make(name: str, layer: Layer) -> Method:
    method = DDT()
    return without_layer(OfPass(method.of, observe=method.observe))(name, layer)


METHODS["ddt"] = _make
