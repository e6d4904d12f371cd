"""From the ``cam`` group of the configuration to a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camexp import methods
from camexp.errors import UserError, nearest
from camexp.methods.averaged import Averaged
from camexp.methods.registry import METHODS, Method
from camexp.registry import import_modules


def build_method(options: Mapping[str, Any]) -> Method:
    """The method that the ``cam`` group asks for.

    Args:
        options: ``method``, ``layer`` (a module's name or a list of them; ``None``: the head's activations),
            ``flip``, ``scales`` and ``ten_crop``, see :class:`Averaged`.

    Raises:
        UserError: an unknown method, or an option out of range.
    """
    name, scales = options["method"], options["scales"]
    if name not in METHODS:
        import_modules(methods)
    if name not in METHODS:
        raise UserError(f"cam.method={name} is not a method: {nearest(str(name), METHODS)}")
    if not isinstance(scales, Sequence) or isinstance(scales, str) or not scales:
        raise UserError(f"cam.scales={scales} is not a list of sizes: expected as [1.0] or [0.75,1.0,1.5]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.25 <= scale <= 4:
            raise UserError(f"cam.scales={list(scales)} is out of range: expected 0.25 to 4 times the input's size")
    method = METHODS[name](name, options["layer"])
    if options["flip"] or options["ten_crop"] or list(scales) != [1.0]:
        return Averaged(method, bool(options["flip"]), tuple(map(float, scales)), bool(options["ten_crop"]))
    return method
