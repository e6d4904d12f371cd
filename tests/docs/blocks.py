"""The blocks of code in the README and on the site's pages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
SHOWN = {"text", "matlab", "toml"}  # nothing of ours runs these
PAGES = [
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "howto"),
    ROOT / "README.md",
]


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        page: its file.
        line: of the fence.
        language: after the fence.
        text: what stands in it.
        reason: why it is not run; ``None``: it is.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in their order."""
    inside: tuple[int, str, str | None] | None = None
    reason, content = None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if inside is None and (match := re.fullmatch(r"```(\{?\w[\w-]*\}?.*)", line)):
            inside, content = (number, match[1], reason), []
        elif inside is not None and line == "```":
            if not inside[1].startswith("{"):  # a directive of Sphinx
                yield Block(page, inside[0], inside[1], "\n".join(content) + "\n", inside[2])
            inside = None
        elif inside is not None:
            content.append(line)
        match = NOT_RUN.fullmatch(line)
        reason = match[1] if match else None
    assert inside is None, f"{page}: the block of line {inside} does not end"


class Command(NamedTuple):
    """One of ours, as ``camexp train …``: its name and its arguments."""

    name: str
    arguments: tuple[str, ...]


def commands(block: Block) -> Iterator[Command | list[str]]:
    """The commands of a shell block: ours, and the words of those that are not."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            if words[:end]:
                yield ours(words[:end]) or words[:end]
            words = words[end + 1 :]


def ours(words: list[str]) -> Command | None:
    """``camexp NAME …`` or ``… NAME.py …`` of a clone, whatever starts it (torchrun, srun).

    >>> ours(["srun", "--gpus-per-node=8", "camexp", "train", "seed=1"])
    Command(name='train', arguments=('seed=1',))
    """
    for place, word in enumerate(words):
        if word == "camexp" and place + 1 < len(words):
            return Command(words[place + 1], tuple(words[place + 2 :]))
        if match := re.fullmatch(r"(train|predict|evaluate|explore)\.py", word):
            return Command(match[1], tuple(words[place + 1 :]))
    return None
