"""A file that only grows, and of which a process that comes after a killed one knows how much is sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO


def are_there(folder: Path, lengths: Mapping[str, int]) -> bool:
    """Whether the files of a folder have the bytes at least that they are said to have.

    Args:
        folder: what the names are relative to.
        lengths: by name; 0: there need be none.
    """
    try:
        return all(not length or (folder / name).stat().st_size >= length for name, length in lengths.items())
    except OSError:
        return False


class AppendFile:
    """A file to which pieces are appended, each whole; what was appended stays, whatever ends the process.

    Args:
        path: the file.
        header: what it begins with.
        length: how many of its bytes are kept, those after them are cut off; ``None``: it begins anew.
        eager: the header is written at once; else with the first piece, so that without one there is no file.

    Attributes:
        length: bytes of the file.

    Raises:
        OSError: it is shorter than ``length``, or cannot be written to.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.txt")
    >>> with AppendFile(path, b"head ") as file:
    ...     file.append(b"one ")
    ...     kept = file.length
    ...     file.append(b"two")
    >>> with AppendFile(path, b"head ", length=kept) as file:
    ...     file.append(b"three")
    >>> path.read_text()
    'head one three'
    """

    def __init__(self, path: Path, header: bytes = b"", length: int | None = None, eager: bool = False):
        self.path, self.header, self.length = path, header, length or 0
        self._file: BinaryIO | None = None
        if self.length:
            if path.stat().st_size < self.length:
                raise OSError(f"{path} is shorter than it was")
            self._file = path.open("r+b", buffering=0)
            self._file.truncate(self.length)
            self._file.seek(self.length)
            return
        path.unlink(missing_ok=True)  # of an earlier run, or what came after the last that is known to be sound
        if eager:
            self._open()

    def append(self, piece: bytes) -> None:
        """One more piece.

        Raises:
            OSError: a full disk; nothing of the piece is left.
        """
        if not piece:
            return
        if self._file is None:
            self._open()
        self._write(piece)

    def close(self) -> None:
        """Close it; once or more."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("xb", buffering=0)  # a piece is in the file or it is not; none lingers in a buffer
        try:
            self._write(self.header)
        except OSError:  # or what comes next would stand there without it
            self._file.close()
            self._file = None
            self.path.unlink()
            raise

    def _write(self, piece: bytes) -> None:
        assert self._file is not None
        whole = len(piece)
        while piece:
            try:
                piece = piece[self._file.write(piece) :]
            except OSError:  # a full disk: no half of a piece is left
                self._file.truncate(self._file.seek(self.length))
                raise
        self.length += whole

    def __enter__(self) -> AppendFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
