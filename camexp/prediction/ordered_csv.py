"""``predictions.csv``: rows come in any order and are appended in that of the images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from camexp.in_order import InOrder


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
        self._order = InOrder(self._write)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._file = path.open("xb", buffering=0)  # a row is in the file or it is not; none lingers in a buffer
        self._append(_lines([header]))

    def add(self, index: int, rows: Iterable[Sequence[Any]]) -> None:
        """The rows of one image; several threads may call at once."""
        self._order.put(index, _lines(rows))

    def skip(self, index: int) -> None:
        """One image has none."""
        self._order.put(index, None)

    def close(self) -> None:
        """Append what waits for images that never came, and close the file; once."""
        self._order.finish()
        self._file.close()

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
