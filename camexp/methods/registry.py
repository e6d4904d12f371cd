"""Ways to a map, by their names.

Whatever the method, it is a callable: network, images and classes in, logits and maps out, as
:meth:`camexp.models.CAMClassifier.explain`, which is class activation mapping itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camexp.errors import UserError
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.result import CAMResult

Method = Callable[[CAMClassifier, Tensor, LabelsLike], CAMResult]
Layer = str | Sequence[str] | None


@dataclass(frozen=True)
class ForwardPass:
    """What a forward pass computed of B images on the way to their logits.

    Attributes:
        features: ``(B, D, h, w)``, the trunk's output.
        activations: ``(B, D', h, w)``, the head's, which the maps of CAM weigh.
        layers: outputs of layers of the trunk by their names, ``(B, D, h, w)`` each with its own D, h and w.
    """

    features: Tensor
    activations: Tensor
    layers: Mapping[str, Tensor] = field(default_factory=dict)

    def take(self, rows: Sequence[int]) -> ForwardPass:
        """Of some of the images."""
        chosen = list(rows)
        layers = {name: one[chosen] for name, one in self.layers.items()}
        return ForwardPass(self.features[chosen], self.activations[chosen], layers)


Observe = Callable[[CAMClassifier, ForwardPass, LabelsLike], None]


@torch.no_grad()
def forward_pass(model: CAMClassifier, images: Tensor, layers: Sequence[str] = ()) -> ForwardPass:
    """One pass over images ``(B, 3, H, W)``, keeping what these layers gave, see
    :meth:`camexp.CAMClassifier.trunk_outputs`."""
    features, *others = model.trunk_outputs(images, layers)
    return ForwardPass(features, model.head_activations(features), dict(zip(layers, others, strict=True)))


@dataclass(frozen=True)
class OfPass:
    """A method that needs no more of an image than one forward pass: several such methods share it, and where they
    need no layer of the trunk, stored features do instead.

    Attributes:
        of: logits and maps from what the pass computed.
        layers: for a network, the names of the layers whose outputs ``of`` looks for.
        observe: what has to see all images, and whose maps will be asked for, before the first map is made.
    """

    of: Callable[[CAMClassifier, ForwardPass, LabelsLike], CAMResult]
    layers: Callable[[CAMClassifier], tuple[str, ...]] = lambda model: ()
    observe: Observe | None = None

    def __call__(self, model: CAMClassifier, images: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`CAMClassifier.explain`."""
        return self.of(model, forward_pass(model, images, self.layers(model)), labels)


def without_layer(method: Method) -> Callable[[str, Layer], Method]:
    """The entry in ``METHODS`` of a method that works on the head's activations, and on no other layer.

    >>> without_layer(CAMClassifier.explain)("cam", "trunk")
    Traceback (most recent call last):
    camexp.errors.UserError: cam.layer=trunk: cam weighs the head's activations; a layer can be given to another method
    """

    def make(name: str, layer: Layer) -> Method:
        if layer is not None:
            raise UserError(
                f"cam.layer={layer}: {name} weighs the head's activations; a layer can be given to another method"
            )
        return method

    return make


def is_cam(method: Method) -> bool:
    """Whether a method is CAM itself, whose maps' means are the logits (less the bias, where there is one)."""
    return method is CAMClassifier.explain


def of_pass(method: Method) -> OfPass | None:
    """The method as one of a forward pass, where it is one.

    >>> of_pass(CAMClassifier.explain) is CAM, of_pass(lambda model, images, labels: None)
    (True, None)
    """
    return CAM if is_cam(method) else method if isinstance(method, OfPass) else None


def require_layers(method: Method, model: CAMClassifier) -> None:
    """Before long work, or any file: whether the network has the layers that a method needs.

    A method that is not of one forward pass says so in a ``require_layers(model)`` of its own, where it has one.

    Raises:
        UserError: it has not, or a package that the method needs is not installed.
    """
    inner = of_pass(method)
    if inner is not None:
        inner.layers(model)
    elif own := getattr(method, "require_layers", None):
        own(model)


CAM = OfPass(lambda model, seen, labels: model.explain_activations(seen.activations, labels))
# from a name and a layer (``None``: the head's activations) to a method
METHODS: dict[str, Callable[[str, Layer], Method]] = {"cam": without_layer(CAMClassifier.explain)}
