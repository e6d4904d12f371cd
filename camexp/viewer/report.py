"""A report of many images: one page up to some number of them, above it a page with a folder of data."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from camexp.files import atomic_write
from camexp.in_order import InOrder
from camexp.viewer.page import GALLERY, PageFile, json_text, page_file

MOST_IN_ONE_FILE = 1500  # images; a browser takes a second to read their 40 MB
BLOCK = 50  # images; what is in memory while a report is written
# of an item: what a wall of thousands loads as it comes in view
HEAVY = ("photo", "logits", "maps", "labels", "boxes", "mask", "ignored", "methods")


class ImageReport:
    """``report.html``: items in the order of the images, written as they come; memory stays flat.

    Above ``MOST_IN_ONE_FILE`` images the photographs and maps lie in ``NAME_data/data_0001.js`` …, which the page loads
    by script tags as they come into view, since a page opened from a disk cannot fetch. The page appears under its name
    when the ``with`` block ends, in whatever way: what was done by then is in it.

    Args:
        path: of the page.
        count: how many images there will be at most.
        title: of the page.
        page: what it says besides: ``subtitle``, ``facts`` (pairs) and ``meta`` (see :func:`camexp.viewer.meta`).
        scripts: the page's, in ``assets``.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.html"
    >>> with ImageReport(path, 2, "Maps", {"meta": {}}) as report:
    ...     report.skip(1)
    ...     report.add(0, {"name": "a.jpg", "photo": "data:,", "maps": {"high": [2.0]}})
    >>> "a.jpg" in path.read_text(), report.images
    (True, 1)
    """

    def __init__(
        self, path: Path, count: int, title: str, page: dict[str, Any], scripts: tuple[str, ...] = (*GALLERY, "predict")
    ):
        self.path, self.title, self.page, self.scripts = path, title, page, scripts
        self.folder = path.with_name(f"{path.stem}_data") if count > MOST_IN_ONE_FILE else None
        self.images = 0
        self._highest: float | None = None
        self._block: list[dict[str, Any]] = []
        self._files = 0
        self._order = InOrder(self._append)
        self._stack = ExitStack()
        self._file: PageFile

    def add(self, index: int, item: dict[str, Any]) -> None:
        """One image, see :func:`camexp.viewer.item`; several threads may call at once."""
        self._order.put(index, item)

    def skip(self, index: int) -> None:
        """One image is not in it."""
        self._order.put(index, None)

    def _append(self, item: dict[str, Any] | None) -> None:
        if item is None:
            return
        self.images += 1
        self._highest = max(item["maps"]["high"] + ([] if self._highest is None else [self._highest]))
        self._block.append(item)
        if len(self._block) == BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._block:
            return
        light, heavy = self._block, None
        if self.folder is not None:
            self._files += 1
            heavy = [{key: item[key] for key in HEAVY if key in item} for item in self._block]
            light = [{key: value for key, value in item.items() if key not in HEAVY} for item in self._block]
            for item in light:
                item["file"] = self._files
            with atomic_write(self.folder / f"data_{self._files:04d}.js") as temporary:
                temporary.write_text(f"camexp.fill({self._files},{json_text(heavy)});\n", encoding="utf-8")
        self._file.block(json_text(light))
        self._block = []

    def __enter__(self) -> ImageReport:
        self.path.unlink(missing_ok=True)  # of an earlier run into the same folder
        shutil.rmtree(self.path.with_name(f"{self.path.stem}_data"), ignore_errors=True)
        # beside the page: from a disk it has no origin of which 'self' could speak
        policy = "" if self.folder is None else " 'self' file:"
        self._file = self._stack.enter_context(page_file(self.path, self.title, self.scripts, policy))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            self._order.finish()
            self._flush()
            folder = None if self.folder is None else self.folder.name
            self._file.end({**self.page, "title": self.title, "highest": self._highest, "folder": folder})
