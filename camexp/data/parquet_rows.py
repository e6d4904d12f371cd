"""Encoded images in the rows of Parquet files, local or elsewhere, read at any place by their row groups."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camexp.data.source import bytes_digest
from camexp.errors import UserError, reason
from camexp.images import UnreadableImage, decode_image
from camexp.locks import exclusive
from camexp.record_log import KEY_BYTES, file_key


@contextmanager
def open_file(url: str) -> Iterator[Any]:
    """A ``pyarrow.parquet.ParquetFile`` at that address, of any kind that fsspec knows; of it only what is asked for is
    read."""
    import fsspec
    import pyarrow.parquet

    system, path = fsspec.core.url_to_fs(url)
    with system.open(path, "rb") as file, pyarrow.parquet.ParquetFile(file, pre_buffer=True) as parquet:
        yield parquet


@dataclass(frozen=True)
class ParquetFile:
    """One file, by what its footer says.

    Attributes:
        url: its address.
        groups: rows of each row group.
        sizes: bytes of each, uncompressed.
        identity: what another content would not have.
    """

    url: str
    groups: tuple[int, ...]
    sizes: tuple[int, ...]
    identity: bytes

    @classmethod
    def read(cls, url: str) -> ParquetFile:
        """That at an address.

        Raises:
            OSError, ValueError: it cannot be reached, or is no whole Parquet file.
        """
        with open_file(url) as parquet:
            groups = [parquet.metadata.row_group(number) for number in range(parquet.num_row_groups)]
            told = f"{url} {parquet.metadata.serialized_size} {parquet.metadata.num_rows}".encode()
        with contextlib.suppress(OSError):  # an address elsewhere: the hub's hold the revision
            told = file_key(os.fsencode(url.removeprefix("file://")))
        return cls(
            url, tuple(one.num_rows for one in groups), tuple(one.total_byte_size for one in groups),
            hashlib.blake2b(told, digest_size=KEY_BYTES).digest(),
        )  # fmt: skip

    @property
    def rows(self) -> int:
        """How many it has."""
        return sum(self.groups)


class ParquetImages:
    """The images in a column of several files, those of one after those of the other.

    A row group is kept as an Arrow file, which is mapped into memory: threads, processes and later runs find it there.

    Args:
        files: the Parquet files.
        column: the one with the images: bytes, or structures with ``bytes``.
        folder: where row groups are kept.
        max_gb: of all of them, in 10⁹ bytes; the oldest make room.
    """

    def __init__(self, files: Sequence[ParquetFile], column: str, folder: Path, max_gb: float):
        self.files, self.column, self.folder, self.max_gb = list(files), column, folder, max_gb
        self.ends = np.cumsum([rows for file in files for rows in file.groups])
        self.firsts = np.cumsum([0] + [len(file.groups) for file in files])  # of each file's row groups among all
        self.bytes = sum(size for file in files for size in file.sizes)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def read(self, index: int) -> Image.Image:
        content = self._content(index)
        if content is None:
            raise UnreadableImage("the table holds no image in this row")
        return decode_image(content)

    def digest(self, index: int) -> str:
        return bytes_digest(self._content(index) or b"")

    def key(self, index: int) -> bytes | None:
        number, *place = self._place(index)
        told = self.files[number].identity + f"{self.column} {place}".encode()
        return hashlib.blake2b(told, digest_size=KEY_BYTES).digest()

    def _place(self, index: int) -> tuple[int, int, int]:
        """The file, the row group in it, and the row in that."""
        group = int(np.searchsorted(self.ends, index, side="right"))
        file = int(np.searchsorted(self.firsts, group, side="right")) - 1
        return file, group - int(self.firsts[file]), index - int(self.ends[group - 1] if group else 0)

    def _content(self, index: int) -> bytes | None:
        number, group, row = self._place(index)
        value = self._value(self.files[number], group, row)
        if isinstance(value, dict) and value["bytes"] is None and value.get("path"):
            raise UnreadableImage(f"the table holds the path {value['path']}: dataset.streaming=false reads that")
        content = value["bytes"] if isinstance(value, dict) else value
        return None if content is None else bytes(content)

    def _value(self, file: ParquetFile, group: int, row: int) -> Any:
        """What the column holds in a row of a row group."""
        import pyarrow

        name = hashlib.blake2b(file.identity + f"{self.column} {group}".encode(), digest_size=16).hexdigest()
        kept = self.folder / f"{name}.arrow"
        for _ in range(10):  # others may make room for theirs at any moment
            try:
                with pyarrow.memory_map(str(kept)) as mapped:
                    return _row(pyarrow.ipc.open_file(mapped), row)
            except FileNotFoundError:
                pass
            except pyarrow.ArrowInvalid:  # a power cut left it short
                kept.unlink(missing_ok=True)
            with exclusive(kept.with_suffix(".lock"), "fetching a row group"):
                if not kept.exists():
                    self._fetch(file, group, kept)
        raise UserError(
            f"dataset.max_gb={self.max_gb:g} is too little for the row groups that are read at the same time: raise it"
        )

    def _fetch(self, file: ParquetFile, group: int, kept: Path) -> None:
        import pyarrow

        try:
            with open_file(file.url) as parquet:
                table = parquet.read_row_group(group, columns=[self.column])
        except Exception as error:  # the network's, of any library
            raise UserError(
                f"{file.url} cannot be read ({reason(error)}): once it can, the same command with resume=auto goes on"
            ) from error
        # one name, for who fetches it holds the lock: what a killed process leaves is written over
        temporary = kept.with_suffix(".part")
        with pyarrow.OSFile(str(temporary), "wb") as out, pyarrow.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)  # of more than 2 GB in several batches
        temporary.replace(kept)
        self._make_room(kept)

    def _make_room(self, newest: Path) -> None:
        """Remove the oldest row groups; who has one mapped keeps it."""
        kept = []
        for path in self.folder.glob("*.arrow"):
            with contextlib.suppress(FileNotFoundError):
                told = path.stat()
                kept.append((told.st_mtime_ns, told.st_size, path))
        held = sum(size for _, size, _ in kept)
        for _, size, path in sorted(kept):
            if held <= self.max_gb * 1e9:
                break
            if path != newest:
                path.unlink(missing_ok=True)
                held -= size


def _row(file: Any, row: int) -> Any:
    """The value of one row of an Arrow file's only column, whatever batches it is in."""
    for number in range(file.num_record_batches):
        batch = file.get_batch(number)
        if row < batch.num_rows:
            return batch.column(0)[row].as_py()
        row -= batch.num_rows
    raise IndexError(f"no row {row}")
