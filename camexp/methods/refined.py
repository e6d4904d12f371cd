"""What can be done to the maps of any method: negatives set to zero, places averaged with those that look like them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch

from camexp.cam.affinity import average_over_alike
from camexp.cam.maps import class_activation_maps
from camexp.errors import UserError
from camexp.methods.registry import ForwardPass, Method, OfPass, forward_pass, is_cam, of_pass, require_layers
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.layers import find_layer, finer_layer
from camexp.models.result import CAMResult
from camexp.models.trunks import Trunk

_NOTHING = ForwardPass(torch.empty(0), torch.empty(0))
_FINER: WeakKeyDictionary[Trunk, str] = WeakKeyDictionary()


@torch.no_grad()
def cam_of_positive_weights(model: CAMClassifier, seen: ForwardPass, labels: LabelsLike = "predicted") -> CAMResult:
    r"""CAM with negative class weights clamped to 0: what speaks for the class, without what speaks against it.

    .. math:: M_c(x, y) = \sum_d \max(0, w_d^c) A_d(x, y)

    The logits are the network's own; a map's mean is not its class's logit. Source: Bae et al., *Rethinking class
    activation mapping for weakly supervised object localization*, ECCV 2020, section 3.2.

    Args:
        seen: what a forward pass computed.
        labels: see :meth:`CAMClassifier.explain`.
    """
    result = model.explain_activations(seen.activations, labels)
    weights = model.head.linear.weight.clamp(min=0)
    return replace(result, maps=class_activation_maps(seen.activations, weights, result.labels))


def with_clamped_weights(method: Method, name: str) -> Method:
    """CAM's variant of positive weights.

    Raises:
        UserError: a method that has no class weights of its own to clamp.
    """
    if not is_cam(method):
        raise UserError(
            f"cam.negatives=clamp_weights: {name} does not weigh by the class's weights alone: take cam=cam, or "
            "cam.negatives=clamp_map"
        )
    return OfPass(cam_of_positive_weights)


def with_clamped_map(method: Method) -> Method:
    """The same maps, their negative values 0."""
    return _changed(method, lambda model, seen, result: replace(result, maps=result.maps.clamp(min=0)))


def with_affinity(method: Method, layer: str) -> Method:
    """The same maps after :func:`camexp.cam.average_over_alike` in a layer of the trunk.

    Args:
        method: whose maps.
        layer: see :func:`camexp.models.layers.find_layer`; ``auto``: :func:`camexp.models.layers.finer_layer`.
    """

    def layers(model: CAMClassifier) -> tuple[str, ...]:
        option = f"cam.affinity={layer}"
        if layer == "auto":
            if model.trunk not in _FINER:
                _FINER[model.trunk] = finer_layer(model.trunk, option)
            return (_FINER[model.trunk],)
        find_layer(model.trunk, layer, option)
        return (layer,)

    def refine(model: CAMClassifier, seen: ForwardPass, result: CAMResult) -> CAMResult:
        (name,) = layers(model)
        return replace(result, maps=average_over_alike(result.maps, seen.layers[name]))

    return _changed(method, refine, layers)


Change = Callable[[CAMClassifier, ForwardPass, CAMResult], CAMResult]
Layers = Callable[[CAMClassifier], tuple[str, ...]]


def _changed(method: Method, change: Change, layers: Layers = lambda model: ()) -> Method:
    """The method followed by a change of its result: of the same pass where it is of one, else of a pass more."""
    inner = of_pass(method)
    if inner is not None:
        return OfPass(
            lambda model, seen, labels: change(model, seen, inner.of(model, seen, labels)),
            lambda model: tuple(dict.fromkeys((*inner.layers(model), *layers(model)))),
            inner.observe,
        )

    return Changed(method, change, layers)


@dataclass(frozen=True)
class Changed:
    """A method followed by a change of its result, for which a pass more is made where the change looks at layers.

    Args:
        method: of several passes.
        change: of what the pass more computed, and the method's result.
        layers: see :class:`OfPass`.
    """

    method: Method
    change: Change
    layers: Layers

    def __call__(self, model: CAMClassifier, images: torch.Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`CAMClassifier.explain`."""
        result, names = self.method(model, images, labels), self.layers(model)
        return self.change(model, forward_pass(model, images, names) if names else _NOTHING, result)

    def require_layers(self, model: CAMClassifier) -> None:
        """See :func:`camexp.methods.require_layers`."""
        require_layers(self.method, model)
        self.layers(model)
