"""Data sets that other packages bring."""

from __future__ import annotations

import contextlib
import inspect
from typing import Any

from camexp.data.imageset import ImageSet
from camexp.errors import UserError, reason
from camexp.plugins import DATASETS, load_plugin


def find_plugin(plugin: str, root: str | None = None, **options: Any) -> ImageSet:
    """The image set that an entry point of the group ``camexp.datasets`` finds.

    Args:
        plugin: its name.
        root: handed on if it is given, or if the plugin has no root of its own.
        options: handed on.

    Raises:
        UserError: no such entry, one that fails, or options that it does not take.
    """
    find = load_plugin(DATASETS, plugin)
    if root is not None or _asks_for_root(find):
        options["root"] = root
    try:
        with contextlib.suppress(ValueError):  # a function without a signature
            inspect.signature(find).bind(**options)
    except TypeError as error:
        given = ", ".join(options) or "no options"
        raise UserError(f"dataset={plugin} cannot be called with {given} ({reason(error)})") from error
    images = find(**options)
    if not isinstance(images, ImageSet):
        raise UserError(f"dataset={plugin}: its package gives {type(images).__name__}, not a camexp.data.ImageSet")
    return images


def _asks_for_root(find: Any) -> bool:
    try:
        root = inspect.signature(find).parameters.get("root")
    except (TypeError, ValueError):
        return False
    return root is not None and root.default is root.empty
