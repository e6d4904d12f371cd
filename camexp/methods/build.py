"""From the ``cam`` group of the configuration to a method."""

from __future__ import annotations

from camexp.config import CAMOptions
from camexp.discovery import import_modules
from camexp.errors import UserError, nearest
from camexp.methods.averaged import Averaged
from camexp.methods.registry import METHODS, Method


def build_method(options: CAMOptions) -> Method:
    """The method that the ``cam`` group asks for.

    Args:
        options: the group.

    Raises:
        UserError: an unknown method, or a layer where it takes none.
    """
    name, scales = options.method, tuple(options.scales)
    if name not in METHODS:
        import_modules("camexp.methods")
    if name not in METHODS:
        raise UserError(f"cam.method={name} is not a method: {nearest(str(name), METHODS)}")
    method = METHODS[name](name, options.layer)
    if options.flip or options.ten_crop or scales != (1.0,):
        return Averaged(method, options.flip, scales, options.ten_crop)
    return method
