"""From the ``cam`` group of the configuration to a method."""

from __future__ import annotations

from camexp.cam.normalisation import Normalisation
from camexp.config import CAMOptions
from camexp.discovery import import_modules
from camexp.errors import UserError, nearest
from camexp.methods.averaged import Averaged
from camexp.methods.refined import with_affinity, with_clamped_map, with_clamped_weights
from camexp.methods.registry import METHODS, Method, Observe, of_pass


def build_method(options: CAMOptions) -> Method:
    """The method that the ``cam`` group asks for.

    Args:
        options: the group.

    Raises:
        UserError: an unknown method, or an option that it does not go with.
    """
    name, scales = options.method, tuple(options.scales)
    if name not in METHODS:
        import_modules("camexp.methods")
    if name not in METHODS:
        raise UserError(f"cam.method={name} is not a method: {nearest(str(name), METHODS)}")
    method = METHODS[name](name, options.layer)
    if options.negatives == "clamp_weights":
        method = with_clamped_weights(method, name)
    if options.affinity is not None:
        method = with_affinity(method, options.affinity)
    if options.negatives == "clamp_map":
        method = with_clamped_map(method)
    if options.flip or options.ten_crop or scales != (1.0,):
        return Averaged(method, options.flip, scales, options.ten_crop)
    return method


def build_normalisation(options: CAMOptions) -> Normalisation:
    """What of a map becomes 0 and 1, as the ``cam`` group says."""
    return Normalisation(options.normalise, options.percentile)


def observer(method: Method) -> Observe | None:
    """What of a method has to see all images before the first map, if any does."""
    inner = of_pass(method.method if isinstance(method, Averaged) else method)
    return None if inner is None else inner.observe


def refuse_observer(method: Method, name: str) -> None:
    """Where maps are made image by image.

    Raises:
        UserError: a method that has to see all of them first.
    """
    if observer(method):
        raise UserError(
            f"cam={name} has to see all images of a class before the first map, as predict and evaluate do: take "
            "cam=pc1 here, which looks at each image by itself"
        )
