"""The reference of options, written while the site is built: from ``camexp/config/`` and ``camexp/conf/``.

In a page, ``<!-- options: train -->`` becomes the tables of a command's options, ``<!-- choices -->`` the groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from camexp.config import COMMAND_OPTIONS
from camexp.config.describe import option_rows

CONF = Path(__file__).parents[2] / "camexp" / "conf"
WRITTEN = "# Written by python -m camexp.config"


class Key(NamedTuple):
    """One line of a choice's file: ``key: value  # comment``."""

    name: str
    value: str
    comment: str


def option_tables(command: str) -> str:
    """All options of a command, a table a section, as Markdown."""
    lines: list[str] = []
    rows = option_rows(COMMAND_OPTIONS[command])
    for section, group in groupby(rows, key=lambda row: row.name.rpartition(".")[0]):
        lines += [f"## {section or 'General'}", "", "| option | default | range | meaning |", "|---|---|---|---|"]
        lines += [_row(f"`{row.name}`", _code(row.default), row.range, row.meaning) for row in group]
        lines.append("")
    return "\n".join(lines)


def choice_tables() -> str:
    """The groups of ``conf/`` with their choices, and the options that only some of these have, as Markdown."""
    lines: list[str] = []
    for folder in sorted(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"):
        lines += [f"## {folder.name}", "", f"| `{folder.name}=` | what it is | what it sets |", "|---|---|---|"]
        for file in sorted(folder.glob("*.yaml")):
            about, keys = read_choice(file)
            sets = "the defaults" if WRITTEN in file.read_text(encoding="utf-8") else _settings(keys)
            lines.append(_row(f"`{file.stem}`", about, sets))
        lines.append("")
    return "\n".join(lines)


def read_choice(file: Path) -> tuple[str, list[Key]]:
    """What the comments at the top of a choice's file say, and the options it sets, as the command line names them."""
    text = file.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    prefix = "" if "@package _global_" in text else f"{file.parent.name}."
    comments = _comments(text)
    parts = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
    keys = [Key(key.removeprefix("override /"), value, "") for entry in parts for key, value in entry.items()]
    keys += [Key(prefix + name, value, comments.get(name, "")) for name, value in _flat(content)]
    return " ".join(_leading_comments(text)), keys


def _leading_comments(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.startswith("#"):
            return
        words = line.lstrip("# ")
        if not words.startswith(("@package", "yaml-language-server", "Written by", "python train.py")):
            yield words


def _comments(text: str) -> dict[str, str]:
    """The comment beside each key, by the keys that lead there."""
    comments, above = {}, [(-1, "")]
    for line in text.splitlines():
        if match := re.match(r"( *)(\w+):(?:.*?\s#\s(.*))?", line):
            above = [one for one in above if one[0] < len(match[1])] + [(len(match[1]), match[2])]
            comments[".".join(name for _, name in above[1:])] = match[3] or ""
    return comments


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in content.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=1000)
            rows.append((prefix + key, text.removesuffix("\n").removesuffix("\n...")))
    return rows


def _settings(keys: list[Key]) -> str:
    return "<br>".join(f"`{one.name}={one.value}`{' ' + one.comment if one.comment else ''}" for one in keys) or "–"


def _code(text: str) -> str:
    return f"`{text}`" if text else "required"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _write(app: Any, name: str, source: list[str]) -> None:
    text = re.sub(r"<!-- options: (\w+) -->", lambda match: option_tables(match[1]), source[0])
    source[0] = text.replace("<!-- choices -->", choice_tables()) if "<!-- choices -->" in text else text


def setup(app: Any) -> dict[str, Any]:
    app.connect("source-read", _write)
    return {"parallel_read_safe": True}
