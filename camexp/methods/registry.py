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
Layer = str | Sequence[str] | None


def cam(name: str = "cam", layer: Layer = None) -> Method:
    """Class activation mapping (Zhou et al., CVPR 2016).

    Raises:
        UserError: a layer, of which it has no choice.
    """
    if layer is not None:
        raise UserError(f"cam.layer={layer}: cam weighs the head's activations; a layer can be given to another method")
    return CAMClassifier.explain


def is_cam(method: Method) -> bool:
    """Whether a method is CAM itself, which needs no more than the trunk's features."""
    return method is CAMClassifier.explain


# from a name and a layer (``None``: the head's activations) to a method
METHODS: dict[str, Callable[[str, Layer], Method]] = {"cam": cam}
