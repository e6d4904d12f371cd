"""Options as objects, and a wrong one as a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from typing_extensions import Self

from camexp.config.describe import expected, field_at, fields_of
from camexp.errors import UserError


class Options(BaseModel):
    """A group or a section of the configuration.

    Keys that no field names are kept in ``model_extra``: a part's own arguments, Lightning's own options, notes.

    >>> class Sheet(Options):
    ...     images: int = 24
    >>> Sheet.read({"images": 3}).images
    3
    >>> Sheet.read({"images": "many"}, "sheet")
    Traceback (most recent call last):
    camexp.errors.UserError: sheet.images=many is out of range: expected a whole number
    """

    # strict: "3" is no number, true is no 1; a mistyped option is told instead of guessed at
    model_config = ConfigDict(strict=True, extra="allow", validate_by_name=True, validate_by_alias=True)

    @classmethod
    def read(cls, values: Mapping[str, Any], name: str = "") -> Self:
        """Validated options.

        Args:
            values: by key, plain.
            name: what the user calls the group, for the error's sentence.

        Raises:
            UserError: the first value that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(_sentence(error, cls, name)) from error

    def to_dict(self) -> dict[str, Any]:
        """The values that were given, plain: for checkpoints, summaries and loggers."""
        return self.model_dump(by_alias=True, exclude_unset=True)

    @property
    def extra(self) -> dict[str, Any]:
        """The values that no field names."""
        return dict(self.model_extra or {})


def _sentence(error: ValidationError, options: type[Options], name: str) -> str:
    """What the user gave and what was expected; of several wrong options the first."""
    details = error.errors(include_url=False)
    # Each kind of value that an option can have has its own complaint: the one furthest inside says most.
    first = field_at(options, details[0]["loc"])[0]
    found = [field_at(options, one["loc"]) for one in details]
    keys, field = max((one for one in found if one[0][: len(first)] == first), key=lambda one: len(one[0]))
    option = ".".join(filter(None, [name, *keys]))
    same = [one for one in details if field_at(options, one["loc"])[0] == keys]
    detail = next((one for one in same if one["type"] == "value_error"), same[0])
    if detail["type"] == "missing":
        return f"{option} is not given: add {option}=…"
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, UserError):  # of several options together
        return str(cause)
    value = _value_at(detail)
    if cause is not None:
        return f"{option}={value} {cause}"
    section = field.section if field is not None else next(fields_of(options)).key  # without a field: all of it
    if section is not None:
        return f"{option}={value} replaces a whole section: set one of its keys, as {option}.{section}=…"
    words, is_number = expected(field)
    return f"{option}={value} {'is out of range' if is_number else 'is not known'}: expected {words}"


def _value_at(detail: Any) -> Any:
    """The option's value, or the element of a list that pydantic names."""
    return f"[… {detail['input']} …]" if detail["loc"] and isinstance(detail["loc"][-1], int) else detail["input"]


def as_written(value: Any) -> str:
    """A value as it stands on the command line and in YAML.

    >>> as_written(None), as_written(True), as_written(0.5)
    ('null', 'true', '0.5')
    """
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def overridden(override: str) -> str:
    """What an override of Hydra's grammar names: an option, a part of them or a group.

    >>> overridden("+model.head={bias: true}"), overridden("optimizer@second=sgd")
    ('model.head', 'optimizer')
    """
    return re.split("[=@]", override.lstrip("+~"), maxsplit=1)[0].replace("/", ".")


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as ``{"a.b": 1}``; lists as text.

    >>> flat({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': 1, 'c': '[1, 2]'}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = str(value) if isinstance(value, (list, tuple)) else value
    return result
