"""Hydra's ``instantiate``, its failures told as the user's."""

from __future__ import annotations

import contextlib
import pkgutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from camexp.config.own import blame
from camexp.errors import UserError
from camexp.extras import extra_names


def instantiate(node: Mapping[str, Any], option: str, **kwargs: Any) -> Any:
    """What ``_target_`` names, called with the other values.

    Args:
        node: ``_target_`` and its arguments.
        option: what the user calls it, for the error's sentence.
        kwargs: further arguments.

    Raises:
        UserError: a part that cannot be imported or built.
    """
    try:
        # plain lists: torch 2.6 leaves an optimizer's betas as they came, and no checkpoint may hold another class
        return hydra.utils.instantiate({"_convert_": "all", **node}, **kwargs)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ImportError) or "No module named" in str(error):
            raise UserError(_not_found(str(node.get("_target_")), option, " ".join(str(cause).split()))) from error
        why = " ".join(str(cause).split())
        raise UserError(f"{option} could not be built: {type(cause).__name__}: {why}{blame()}") from error


def locate(node: Mapping[str, Any], option: str) -> Any:
    """What ``_target_`` names, not called yet.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return pkgutil.resolve_name(str(node["_target_"]))
    except Exception as error:  # a module of the user's may raise anything while it is imported
        raise UserError(_not_found(str(node["_target_"]), option, " ".join(str(error).split()))) from error


def _not_found(target: str, option: str, why: str) -> str:
    """What is imported by name is a library that an extra brings, or the user's own module."""
    extra, known = option.partition("=")[2] or option, []
    with contextlib.suppress(PackageNotFoundError):  # it runs from a folder, and is not installed
        known = extra_names()
    if extra in known:
        return f"{option} needs a package that is not installed: pip install 'camexp[{extra}]'"
    return (
        f"{option}: its _target_={target} cannot be imported ({why}): expected MODULE.NAME of an installed package, "
        f"or of a file in the folder where the command is started{blame()}"
    )
