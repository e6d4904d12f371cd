"""Ways to a map, by their names.

Whatever the method, it is a callable: network, images and classes in, logits and maps out, as
:meth:`camexp.models.CAMClassifier.explain`, which is class activation mapping itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from camexp.errors import UserError
from camexp.models.classifier import CAMClassifier, CAMResult, LabelsLike

Method = Callable[[CAMClassifier, Tensor, LabelsLike], CAMResult]
OfActivations = Callable[[CAMClassifier, Tensor, LabelsLike], CAMResult]  # as a method, of (B, D, h, w) activations
Layer = str | Sequence[str] | None


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
    """Whether a method is CAM itself, which needs no more than the trunk's features."""
    return method is CAMClassifier.explain


def of_activations(method: Method) -> OfActivations | None:
    """The same method on the head's activations, where it needs no more of an image: one forward pass does for several
    such methods, and stored features do for all. ``None``: it needs the images.

    >>> of_activations(CAMClassifier.explain) is CAMClassifier.explain_activations
    True
    """
    return next((inner for whole, inner in OF_ACTIVATIONS if whole is method), None)


# methods that need the head's activations alone
OF_ACTIVATIONS: list[tuple[Method, OfActivations]] = [(CAMClassifier.explain, CAMClassifier.explain_activations)]
# from a name and a layer (``None``: the head's activations) to a method
METHODS: dict[str, Callable[[str, Layer], Method]] = {"cam": without_layer(CAMClassifier.explain)}
