"""Options in words: what each may be, as lines of ``--help``, and as YAML with comments."""

from __future__ import annotations

import re
import textwrap
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

COLUMN, HELP_COLUMN, WIDTH = 28, 36, 120  # where comments begin in YAML and texts in --help; where lines end


class Field(NamedTuple):
    """One key of a group.

    Attributes:
        key: as the user writes it.
        info: pydantic's.
        options: the class of a group or section; ``None`` for a value.
    """

    key: str
    info: FieldInfo
    options: type[BaseModel] | None

    @property
    def is_group(self) -> bool:
        """Whether Hydra composes it from a folder of ``conf/``."""
        extra = self.info.json_schema_extra
        return isinstance(extra, dict) and bool(extra.get("group"))

    @property
    def section(self) -> str | None:
        """The first key of what is a section and nothing else; ``None`` for a value, or what may be both."""
        return next(fields_of(self.options)).key if self.options and not _is_union(self.info.annotation) else None


def fields_of(options: type[BaseModel]) -> Iterator[Field]:
    """The keys of a group, in their order."""
    for name, info in options.model_fields.items():
        yield Field(info.alias or name, info, _options_in(info.annotation))


def field_at(options: type[BaseModel], location: Sequence[Any]) -> tuple[list[str], Field | None]:
    """The keys that lead to where pydantic found an error, and the field there.

    >>> from camexp.config import TrainOptions
    >>> field_at(TrainOptions, ("model", "head", "HeadOptions", "dropout"))[0]
    ['model', 'head', 'dropout']
    >>> field_at(TrainOptions, ("model", "head", "function-after[check(), HeadOptions]", "pool"))[0]
    ['model', 'head', 'pool']
    """
    keys: list[str] = []
    inside: type[BaseModel] | None = options
    found = None
    for part in location:
        # pydantic's name for one kind of value of several, and of one that a function checks as a whole
        if inside is not None and re.fullmatch(rf"(.*\W)?{inside.__name__}\]?", str(part)):
            continue
        field = next((one for one in fields_of(inside) if one.key == part), None) if inside else None
        if field is None:
            break
        keys.append(field.key)
        found, inside = field, field.options
    return keys, found


def expected(field: Field | None) -> tuple[str, bool]:
    """What an option may be, for the end of an error's sentence; and whether that is a number.

    >>> from camexp.config import TrainOptions
    >>> for key in ("batch_size", "num_workers", "command", "compile"):
    ...     expected(field_at(TrainOptions, [key])[1])
    ('a whole number from 1 to 65536', True)
    ('null or a whole number from 0 to 256', True)
    ('one of train, classes', False)
    ('true or false', False)
    """
    words = _kinds(field.info.annotation, field.info.metadata) if field is not None else []
    names = [word.text for word in words]
    if len(names) > 1 and all(word.kind == "name" for word in words):
        text = f"one of {', '.join(names)}"
    else:
        text = " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
    return text, any(word.kind == "number" for word in words)


def span(field: Field) -> str:
    """The same in few words, for a help text; empty where the type says nothing of interest."""
    words = _kinds(field.info.annotation, field.info.metadata)
    names = [word.text for word in words if word.kind == "name"]
    if len(names) > 1 and len(names) == len([word for word in words if word.kind != "null"]):
        return ", ".join(names)
    return ", ".join(word.brief for word in words) if any(w.kind == "number" and w.brief for w in words) else ""


class _Kind(NamedTuple):
    kind: str
    text: str
    brief: str = ""


def _kinds(annotation: Any, metadata: Sequence[Any] = ()) -> list[_Kind]:
    """The kinds of value that a type takes: names first, then null, then the others."""
    if get_origin(annotation) is Annotated:
        base, *more = get_args(annotation)
        flat = [one for each in more for one in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return _kinds(base, [*metadata, *flat])
    if _is_union(annotation):
        order = {"name": 0, "bool": 1, "null": 2}
        each = [kind for one in get_args(annotation) for kind in _kinds(one, metadata)]
        return sorted(each, key=lambda kind: order.get(kind.kind, 3))
    if get_origin(annotation) is Literal:
        return [_Kind("name", str(value), str(value)) for value in get_args(annotation)]
    if annotation is type(None):
        return [_Kind("null", "null", "null")]
    if annotation is bool:
        return [_Kind("bool", "true"), _Kind("bool", "false")]
    if annotation in (int, float):
        return [_number(annotation, metadata)]
    if (get_origin(annotation) or annotation) is list:
        return [_Kind("list", "a list")]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [_Kind("section", "its options")]
    return [_Kind("text", "text")]


def _number(kind: type, metadata: Sequence[Any]) -> _Kind:
    bounds = {
        bound: getattr(one, bound) for one in metadata for bound in ("ge", "gt", "le", "lt") if hasattr(one, bound)
    }
    what = "a whole number" if kind is int else "a number"
    if kind is int and "gt" in bounds:
        bounds["ge"] = bounds.pop("gt") + 1
    if "ge" in bounds and "le" in bounds:
        brief = f"{bounds['ge']:.10g} to {bounds['le']:.10g}"
        return _Kind("number", f"{what} from {brief}", brief)
    said = {"ge": "{:.10g} or more", "gt": "more than {:.10g}", "le": "at most {:.10g}", "lt": "less than {:.10g}"}
    brief = " and ".join(said[bound].format(value) for bound, value in bounds.items())
    return _Kind("number", f"{what}, {brief}" if brief else what, brief)


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, types.UnionType)


def _options_in(annotation: Any) -> type[BaseModel] | None:
    """The class of options that a type is, or may be."""
    parts = get_args(annotation) if _is_union(annotation) else [annotation]
    return next((one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)), None)


class OptionRow(NamedTuple):
    """One option, in words.

    Attributes:
        name: as on the command line, with its section.
        default: as YAML; empty where it must be given.
        meaning: its help.
        range: what it may be; empty where the type says nothing of interest.
    """

    name: str
    default: str
    meaning: str
    range: str


def option_rows(options: type[BaseModel], prefix: str = "") -> Iterator[OptionRow]:
    """All options of a script, those of its groups and sections too.

    >>> from camexp.config import TrainOptions
    >>> next(row for row in option_rows(TrainOptions) if row.name == "model.head.dropout")
    OptionRow(name='model.head.dropout', default='0.5', meaning='of the pooled activations', range='0 to 0.99')
    """
    for field in fields_of(options):
        name = f"{prefix}{field.key}"
        if field.options is not None:
            yield from option_rows(field.options, f"{name}.")
        elif not field.is_group:
            default = "" if field.info.is_required() else _yaml(field.info.default)
            yield OptionRow(name, default, field.info.description or "", span(field))


def help_table(options: type[BaseModel]) -> str:
    """All options with their defaults, meanings and ranges, a line or more each."""
    lines: list[str] = []
    for row in option_rows(options):
        text = " ".join(filter(None, [row.meaning, f"({row.range})" if row.range else ""]))
        lines += _wrapped(f"  {row.name}={row.default}", text, HELP_COLUMN, "")
    return "\n".join(lines)


def yaml_lines(options: type[BaseModel], indent: int = 0) -> list[str]:
    """A group's defaults as YAML, with their help as comments; groups that Hydra composes are left to it."""
    lines: list[str] = []
    for field in fields_of(options):
        start = f"{' ' * indent}{field.key}:"
        if field.is_group:
            continue
        if field.options is None:
            value = "???" if field.info.is_required() else _yaml(field.info.default)
            lines += _wrapped(f"{start} {value}", _help(field), COLUMN, "# ")
        else:
            lines += ["", *_wrapped(start, _help(field), COLUMN, "# ")] if not indent else [start]
            lines += yaml_lines(field.options, indent + 2)
    return lines


def _help(field: Field) -> str:
    return " ".join(filter(None, [field.info.description, f"({span(field)})" if span(field) else ""]))


def _wrapped(start: str, text: str, column: int, mark: str) -> list[str]:
    rows = [
        " " * column + mark + row for row in textwrap.wrap(text, WIDTH - column - len(mark), break_on_hyphens=False)
    ]
    if not rows or len(start) >= column:  # too long for text beside it
        return [f"{start} {mark}{text}".rstrip()] if mark else [start, *rows]
    return [start + rows[0][len(start) :], *rows[1:]]


def _yaml(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=1000)).removesuffix("\n").removesuffix("\n...")
