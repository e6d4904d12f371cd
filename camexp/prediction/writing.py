"""The results of image after image, written by threads, and how far that is: what a resumed prediction goes on from."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from camexp.append_file import AppendFile, are_there
from camexp.files import read_json, write_json
from camexp.in_order import InOrder
from camexp.prediction.results import Explanation
from camexp.prediction.writer import Records, Rows, Writer

STATE = "state.json"
SECONDS = 1.0  # between two times that it is written: so much work a killed process does again


@dataclass
class State:
    """How far a prediction, or one shard of it, is.

    Attributes:
        next: the index of the first image whose results are not all written.
        explained, skipped: how many before it are explained, and how many could not be read.
        lengths: bytes of each file of records up to there, and of the files that were assembled of them.
        finished: whether that was the last, and what is of all images is assembled.
    """

    next: int
    explained: int = 0
    skipped: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    finished: bool = False

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """What a process before left; ``None`` where there is nothing, or nothing sound."""
        state = read_json(folder / STATE, cls)
        return state if state is not None and are_there(folder, state.lengths) else None


class _Prepared(NamedTuple):
    records: list[bytes]
    explained: bool


class Writing:
    """Hands every image to all writers, and appends their records in the order of the images.

    On any way out of the ``with`` block the records of images that overtook others are appended too, in their order,
    and what is of all images is assembled; a resumed prediction begins where the first image is missing.

    Args:
        folder: where the files of records are.
        writers: the kinds of output.
        rows: the images of this shard.
        state: what a process before left in ``folder``; ``None``: begin anew.

    Attributes:
        state: how far it is.
    """

    def __init__(self, folder: Path, writers: Sequence[Writer], rows: range, state: State | None = None):
        self.folder, self.writers, self.rows = folder, writers, rows
        self.state = state or State(rows.start)
        if state is None:
            (folder / STATE).unlink(missing_ok=True)
        lengths = self.state.lengths
        self._files = [
            AppendFile(folder / one.records, one.header, lengths.get(one.records), one.eager) for one in writers
        ]
        self._order: InOrder[_Prepared] = InOrder(self._append, self.state.next)
        self._saved = 0.0
        self._closing = False

    def add(self, index: int, image: Explanation, rows: Rows) -> None:
        """One image with its rows of ``predictions.csv``; several threads may call at once."""
        self._order.put(index, _Prepared([one.prepare(index, image, rows) for one in self.writers], True))

    def skip(self, index: int, path: Path, reason: str) -> None:
        """One image that could not be read."""
        self._order.put(index, _Prepared([one.skip(index, path, reason) for one in self.writers], False))

    def close(self) -> None:
        """Append what waits for images that never came, and save how far it is; once."""
        if self._saved or self.is_whole:
            self._save()
        self._closing = True  # what comes after a gap is in the tables, and is not what a later process goes on from
        self._order.finish()
        for file in self._files:
            file.close()

    def assemble(self, whole: bool = True) -> None:
        """What is of all images together, of those that are there; once they all are, that is said in the state, and
        hidden records are removed. A process that is killed before leaves it to the next one.

        Args:
            whole: the rows are all of the prediction; else only what a shard has by itself.
        """
        some = [pair for pair in zip(self.writers, self._files, strict=True) if whole or pair[0].of_shard]
        made = [path for one, file in some for path in one.assemble([Records(file.path)], self.is_whole)]
        if self.is_whole:
            hidden = {one.records: file.path for one, file in some if one.records.startswith(".")}
            kept = {name: length for name, length in self.state.lengths.items() if name not in hidden}
            self.state.lengths = kept | {os.path.relpath(path, self.folder): path.stat().st_size for path in made}
            self.state.finished = True
            write_json(self.folder / STATE, asdict(self.state))  # or else the records stay
            for path in hidden.values():
                path.unlink(missing_ok=True)

    @property
    def is_whole(self) -> bool:
        """Whether the results of all images are there."""
        return self.state.next == self.rows.stop

    def _append(self, prepared: _Prepared) -> None:
        for file, record in zip(self._files, prepared.records, strict=True):
            file.append(record)
        self.state.explained += prepared.explained
        self.state.skipped += not prepared.explained
        if not self._closing:
            self.state.next = self._order.next
            self.state.lengths = {one.records: file.length for one, file in zip(self.writers, self._files, strict=True)}
            if time.monotonic() - self._saved > SECONDS:
                self._save()

    def _save(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: what is there stays, and is found again by an earlier state
            write_json(self.folder / STATE, asdict(self.state))
        self._saved = time.monotonic()

    def __enter__(self) -> Writing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
