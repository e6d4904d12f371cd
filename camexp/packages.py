"""Packages that not every installation has, imported when they are needed."""

from __future__ import annotations

import importlib
from typing import Any

from camexp.errors import UserError


def require(name: str, option: str, install: str) -> Any:
    """A module.

    Args:
        name: its own.
        option: what asks for it, for the error.
        install: what pip is to install, as ``camexp[export]``.

    Raises:
        UserError: it is not installed.

    >>> require("no_such_package", "to=onnx", "camexp[export]")
    Traceback (most recent call last):
    camexp.errors.UserError: to=onnx needs no_such_package: pip install 'camexp[export]'
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{option} needs {name.partition('.')[0]}: pip install '{install}'") from error
