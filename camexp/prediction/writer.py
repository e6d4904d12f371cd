"""What every kind of output is: files of each image, and a table or a page of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from camexp.prediction.results import Explanation

Rows = Sequence[Sequence[Any]]


class Records(NamedTuple):
    """A file of records.

    Attributes:
        path: where it is.
        length: bytes of it that are known to be whole records, while another process may be writing; ``None``: all.
    """

    path: Path
    length: int | None = None

    def end(self) -> int:
        """Bytes that count."""
        return self.path.stat().st_size if self.length is None else self.length

    def copy(self, target: BinaryIO, start: int = 0) -> None:
        """Copy what counts, from the byte ``start`` on."""
        left = self.end() - start
        with self.path.open("rb") as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(left, 2**20))):
                target.write(piece)
                left -= len(piece)


class Writer:
    """One kind of output: an image's own files at once, and its record in a file that grows with the images.

    The records are all that a later process needs, one that resumes an interrupted prediction, or one that gathers
    shards: what is of all images together is made of them, see :meth:`assemble`.

    Attributes:
        records: the name of that file.
        header: its first bytes.
        eager: whether it is there from the start.
        of_shard: whether each shard assembles its own; else they are gathered first.
    """

    records: str
    header = b""
    eager = False
    of_shard = False

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        """Write one image's own files; several threads may call at once.

        Args:
            index: of the image among all.
            image: with its maps.
            rows: its rows of ``predictions.csv``.

        Returns:
            Its record; empty: none.
        """
        raise NotImplementedError

    def skip(self, index: int, path: Path, reason: str) -> bytes:
        """The record of an image that could not be read."""
        return b""

    def assemble(self, records: Sequence[Records], finished: bool = True) -> Sequence[Path]:
        """Write what is of all images together; what an earlier call wrote is replaced.

        Args:
            records: files of records in the order of the images, one of each shard; those that were never begun
                do not exist.
            finished: whether these are all of the images.

        Returns:
            The files without which the results are not whole.
        """
        return ()


def read_lines(records: Sequence[Records]) -> Iterator[bytes]:
    """The records of several files, if each is a line."""
    for one in records:
        if one.path.exists():
            with one.path.open("rb") as file:
                while file.tell() < one.end():
                    yield file.readline()
