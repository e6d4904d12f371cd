"""``predictions.csv``, a row a map, and ``skipped.csv``, a row an image that could not be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from camexp.files import atomic_write
from camexp.prediction.results import HEADER, Explanation
from camexp.prediction.writer import Records, Rows, Writer

PREDICTIONS, SKIPPED = "predictions.csv", "skipped.csv"


def csv_lines(rows: Iterable[Sequence[Any]]) -> bytes:
    """Rows as :func:`camexp.files.write_csv` writes them.

    >>> csv_lines([("a, b", None)])
    b'"a, b",\\r\\n'
    """
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


class Table(Writer):
    """Rows of one CSV file; gathered, the header stands once.

    Args:
        folder: where the results of all shards are.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def assemble(self, records: Sequence[Records], finished: bool = True) -> Sequence[Path]:
        there = [one for one in records if one.path.exists() and one.end()]
        if [one.path for one in there] == [self.folder / self.records] or not there:
            return ()
        with atomic_write(self.folder / self.records) as temporary, temporary.open("wb") as file:
            file.write(self.header)
            for one in there:
                one.copy(file, len(self.header))
        return ()


class Predictions(Table):
    """``predictions.csv``."""

    records, header, eager = PREDICTIONS, csv_lines([HEADER]), True

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        return csv_lines(rows)


class Skipped(Table):
    """``skipped.csv``; without such images there is none."""

    records, header = SKIPPED, csv_lines([("path", "reason")])

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        return b""

    def skip(self, index: int, path: Path, reason: str) -> bytes:
        return csv_lines([(path, reason)])
