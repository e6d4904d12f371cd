"""Pages that need no server: one HTML file with its scripts, its data and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
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


def json_text(content: Any) -> str:
    """JSON that can stand in a script element: no ``<`` that could end it, whatever names hold.

    Lone surrogates, which file names that are no valid UTF-8 bring, become question marks.

    >>> json_text({"class": "</script>"})
    '{"class":"\\\\u003c/script>"}'
    """
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").encode("utf-8", "replace").decode()


def write_page(path: Path, title: str, scripts: Sequence[str], page: Any, blocks: Iterable[str] = ()) -> None:
    """One HTML file; see :func:`page_parts`. ``blocks`` are JSON lists of items, written one after another as they
    come, so that they need not be in memory together."""
    before, after = page_parts(title, scripts, page)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        for block in blocks:
            write_block(file, block)
        file.write(after)


def write_block(file: TextIO, block: str) -> None:
    """A JSON list of items as a part of the page."""
    file.write(f'<script type="application/json" class="items">{block}</script>\n')


def page_parts(title: str, scripts: Sequence[str], page: Any, files: Sequence[str] = ()) -> tuple[str, str]:
    """What stands before and after a page's blocks of items.

    The page may load nothing but itself: its Content-Security-Policy names the digests of its own script and style, and
    data blocks (JSON) are never run.

    Args:
        title: of the window.
        scripts: names in ``assets``, joined in this order.
        page: what ``camexp.pageData("page")`` gives: JSON.
        files: scripts beside the page that bring further items, ``data_0001.js`` …
    """
    style, script = asset("viewer.css"), "\n".join(asset(f"{name}.js") for name in scripts)
    # beside the page: pages opened from a disk cannot fetch, and have no origin of which 'self' could speak
    beside = " 'self' file:" if files else ""
    policy = (
        f"default-src 'none'; script-src {_digest(script)}{beside}; style-src {_digest(style)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n'
        "<noscript>This page needs JavaScript, from this file only; nothing is loaded.</noscript>\n"
        f'<script type="application/json" id="colour-maps">{asset("colour_maps.json")}</script>\n'
        f'<script type="application/json" id="page">{json_text(page)}</script>\n'
    )
    # the items' files call what the page's script defines, which reads what they brought once all are there
    tags = "".join(f'<script src="{escape(name)}"></script>\n' for name in files)
    return head, f"{tags}<script>{script}</script>\n</body>\n</html>\n"


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
