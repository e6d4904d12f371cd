"""Hydra's ``instantiate``, its failures told as the user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import hydra.utils
from hydra.errors import InstantiationException

from camexp.errors import UserError


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
            extra = option.partition("=")[2] or option
            raise UserError(f"{option} needs a package that is not installed: pip install 'camexp[{extra}]'") from error
        why = " ".join(str(cause).split())
        raise UserError(f"{option} could not be built: {type(cause).__name__}: {why}") from error
