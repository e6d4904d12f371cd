"""Pages that need no server: one HTML file with its scripts, its data and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from camexp.files import atomic_write

VIEWER = ("maps", "dom", "heat", "stage", "picture", "viewer")  # what every page with a viewer takes, in this order
GALLERY = (*VIEWER, "wall", "gallery")


@lru_cache
def asset(name: str) -> str:
    """A file of ``camexp/viewer/assets``."""
    return (resources.files("camexp.viewer") / "assets" / name).read_text(encoding="utf-8")


@lru_cache
def sheet(script: str) -> str:
    """The style that a script brings, ``NAME.css`` beside it; most bring none."""
    file = resources.files("camexp.viewer") / "assets" / f"{script}.css"
    return file.read_text(encoding="utf-8") if script != "viewer" and file.is_file() else ""


def json_text(content: Any) -> str:
    """JSON that can stand in a script element: no ``<`` that could end it, whatever names hold.

    Lone surrogates, which file names that are no valid UTF-8 bring, become question marks.

    >>> json_text({"class": "</script>"})
    '{"class":"\\\\u003c/script>"}'
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("utf-8", "replace").decode()


class PageFile:
    """A page that is being written: blocks of items first, as they come, then what is known at the end."""

    def __init__(self, file: TextIO, scripts: Sequence[str]):
        self._file, self._script = file, "\n".join(asset(f"{name}.js") for name in scripts)
        self._style = asset("viewer.css") + "".join(sheet(name) for name in scripts)

    def begin(self, title: str, policy: str = "") -> None:
        """The head. The page may load nothing but itself: its Content-Security-Policy names the digests of its own
        script and style, and data blocks (JSON) are never run; ``policy`` adds sources of scripts."""
        rules = (
            f"default-src 'none'; script-src {_digest(self._script)}{policy}; style-src {_digest(self._style)}; "
            "img-src data: blob:; base-uri 'none'; form-action 'none'"
        )
        self._file.write(
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{escape(rules)}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<link rel="icon" href="data:,">\n<title>{escape(_valid(title))}</title>\n<style>{self._style}</style>\n'
            "</head>\n<body>\n"
            "<noscript>This page needs JavaScript, from this file only; nothing is loaded.</noscript>\n"
            f'<script type="application/json" id="colour-maps">{asset("colour_maps.json")}</script>\n'
        )

    def block(self, items: str) -> None:
        """A JSON list of items, which ``camexp.pageItems()`` joins to the others."""
        self._file.write(f'<script type="application/json" class="items">{items}</script>\n')

    def end(self, page: Any) -> None:
        """What ``camexp.pageData("page")`` gives, and the script."""
        self._file.write(
            f'<script type="application/json" id="page">{json_text(page)}</script>\n'
            f"<script>{self._script}</script>\n</body>\n</html>\n"
        )


@contextmanager
def page_file(path: Path, title: str, scripts: Sequence[str], policy: str = "") -> Iterator[PageFile]:
    """A page that stands at ``path`` once the block has ended well; :meth:`PageFile.end` is called within it."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        page = PageFile(file, scripts)
        page.begin(title, policy)
        yield page


def write_page(path: Path, title: str, scripts: Sequence[str], page: Any, blocks: Iterable[str] = ()) -> None:
    """One HTML file.

    Args:
        path: where; written to a temporary name, then renamed.
        title: of the window.
        scripts: names in ``assets``, joined in this order.
        page: what ``camexp.pageData("page")`` gives: JSON.
        blocks: JSON lists of items, written one after another, so that they need not be in memory together.
    """
    with page_file(path, title, scripts) as file:
        for block in blocks:
            file.block(block)
        file.end(page)


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
