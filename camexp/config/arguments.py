"""The arguments of what ``_target_`` names, held against what it says that it takes, before anything is built."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from camexp.config.describe import Field, expected
from camexp.config.instantiate import locate
from camexp.config.options import as_written
from camexp.errors import UserError, nearest

TRUSTED = ("camexp", "pytorch_lightning", "torch")  # packages whose annotations are known to tell the truth
SCALARS = (bool, int, float, str, type(None))


def require_arguments(node: Any, option: str) -> Callable[..., Any]:
    """Make sure that a part can be imported, and that its arguments are of the kinds that it asks for.

    Args:
        node: ``_target_`` and its arguments.
        option: what the user calls it.

    Returns:
        What ``_target_`` names.

    Raises:
        UserError: a part that is none, or an argument that it has not, or not of this kind.

    >>> require_arguments({"_target_": "torch.optim.SGD", "momentum": "much"}, "optimizer")
    Traceback (most recent call last):
    camexp.errors.UserError: optimizer.momentum=much is out of range: expected a number
    """
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"{option}={as_written(node)} names nothing to build: expected {{_target_: MODULE.NAME, …}}")
    target = locate(node, option)
    signature, hints = _signature(target)
    for name, value in node.items():
        parameter = signature.parameters.get(name) if signature and not name.startswith("_") else None
        if parameter is None or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            if signature and not name.startswith("_") and not _takes_any(signature):
                known = [one for one in signature.parameters if one != "self"]
                raise UserError(f"{option}.{name} is no argument of {target.__name__}: {nearest(name, known)}")
            continue
        hint = _checkable(hints.get(name, Any))
        if hint is not None and not _fits(value, hint | None if parameter.default is None else hint):
            words, number = _words(hint)
            raise UserError(
                f"{option}.{name}={as_written(value)} is {'out of range' if number else 'not known'}: expected {words}"
            )
    return target


def _signature(target: Callable[..., Any]) -> tuple[inspect.Signature | None, dict[str, Any]]:
    """What it takes, and of which kinds where they may be believed."""
    try:
        signature = inspect.signature(target)
    except (TypeError, ValueError):  # not written in Python
        return None, {}
    hints: dict[str, Any] = {}
    if str(target.__module__).partition(".")[0] in TRUSTED:
        with suppress(Exception):  # an annotation that cannot be resolved, whatever it runs into
            hints = get_type_hints(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    return signature, hints


def _takes_any(signature: inspect.Signature) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())


def _checkable(hint: Any) -> Any:
    """The part of an annotation that a configuration can hold: numbers, texts and lists of them; ``None`` for others.

    >>> _checkable(tuple[float, float]), _checkable(dict[str, int])
    (tuple[float, float], None)
    """
    kind, inside = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return hint
    if kind in (Union, types.UnionType):
        each = [_checkable(one) for one in inside if getattr(one, "__name__", "") != "Tensor"]
        return None if None in each or not each else Union[tuple(each)]  # noqa: UP007
    if kind in (tuple, list, Sequence):
        each = [one if one is ... else _checkable(one) for one in inside]
        return None if None in each or not each else (list if kind is Sequence else kind)[tuple(each)]
    return None


def _fits(value: Any, hint: Any) -> bool:
    try:
        # as JSON, in which a list may be a tuple though a text is no number
        TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError):
        return False
    return value == value  # nan is a float, and never what anybody means


def _words(hint: Any) -> tuple[str, bool]:
    length = len(get_args(hint)) if get_origin(hint) is tuple and ... not in get_args(hint) else 0
    return (f"a list of {length}", False) if length else expected(Field("", FieldInfo.from_annotation(hint), None))
