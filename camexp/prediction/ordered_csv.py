"""``predictions.csv``: rows come in any order and are appended in that of the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any


class OrderedCSV:
    """A CSV file to which the rows of image after image are appended, whole, as soon as all before are there.

    What was appended stays, whatever ends the process. Only the rows of images that overtook others are in memory; on
    any way out of the ``with`` block they are appended too, in their order.

    Args:
        path: the file; one of an earlier run is replaced.
        header: its first line.

    Attributes:
        images: how many have their rows in the file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.csv")
    >>> with OrderedCSV(path, ["path", "class"]) as table:
    ...     table.add(1, [("b.jpg", "duck")])
    ...     table.skip(0)
    >>> path.read_text().splitlines()
    ['path,class', 'b.jpg,duck']
    """

    def __init__(self, path: Path, header: Sequence[str]):
        self.images = 0
        self._waiting: dict[int, bytes | None] = {}
        self._next = 0
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._file = path.open("xb", buffering=0)  # a row is in the file or it is not; none lingers in a buffer
        self._append(_lines([header]))

    def add(self, index: int, rows: Iterable[Sequence[Any]]) -> None:
        """The rows of one image; several threads may call at once."""
        self._take(index, _lines(rows))

    def skip(self, index: int) -> None:
        """One image has none."""
        self._take(index, None)

    def close(self) -> None:
        """Append what waits for images that never came, and close the file; once."""
        with self._lock:
            for _, lines in sorted(self._waiting.items()):
                self._write(lines)
            self._waiting.clear()
            self._file.close()

    def _take(self, index: int, lines: bytes | None) -> None:
        with self._lock:
            self._waiting[index] = lines
            while self._next in self._waiting:
                self._write(self._waiting.pop(self._next))
                self._next += 1

    def _write(self, lines: bytes | None) -> None:
        if lines is not None:
            self._append(lines)
            self.images += 1

    def _append(self, lines: bytes) -> None:
        begin = self._file.tell()
        while lines:
            try:
                lines = lines[self._file.write(lines) :]
            except OSError:  # a full disk: no half of a row is left
                self._file.truncate(self._file.seek(begin))
                raise

    def __enter__(self) -> OrderedCSV:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def append_row(path: Path, header: Sequence[str], row: Sequence[Any]) -> None:
    """One more row of a CSV, which begins with its header."""
    with path.open("ab") as file:
        file.write(_lines([row] if file.tell() else [header, row]))


def _lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """As :func:`camexp.files.write_csv` writes them."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")
