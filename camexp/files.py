"""Writing so that nothing is ever half-written."""

from __future__ import annotations

import csv
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside ``path``; renamed to it when the block ends well, removed when it does not.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # keeps the ending, from which Pillow tells the format; the process's number keeps two writers apart
    temporary = path.with_name(f".{os.getpid()}~{path.name}"[-200:])
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> int:
    """Have a file, or a folder's names, on the disk itself, so that a power cut cannot lose them; returns its bytes,
    0 where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return 0
    try:
        os.fsync(descriptor)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Indented JSON, UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV with a header line, UTF-8; ``None`` becomes an empty cell."""
    # surrogateescape: a file name need not be valid UTF-8, and its row must not be lost for that
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def save_png(path: str | os.PathLike[str], image: Image.Image) -> None:
    """A PNG, quick to write: runs of equal bytes are all that is looked for, which on photographs costs half
    the time of zlib's search for repetitions and, for its noise, no bytes."""
    with replacing(path) as temporary:
        image.save(temporary, "PNG", compress_level=1, compress_type=zlib.Z_RLE)


def shown(path: str | os.PathLike[str]) -> str:
    """A path relative to where the user stands, if it lies below that: commands that name it stay short."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative


def lock(path: Path, shared: bool, wait: bool = False) -> BinaryIO:
    """An open file under a lock that ends with the process.

    Args:
        path: made if it is absent.
        shared: others may share it; else it is for one alone.
        wait: until others have let go of it.

    Raises:
        BlockingIOError: another process holds it, and nobody waits.
        OSError: it cannot be opened, or the file system knows no locks.
    """
    file = path.open("ab")
    try:
        import fcntl
    except ImportError:  # Windows: no locks, and nothing that is open can be removed there
        return file
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BaseException:  # Ctrl-C while waiting, too
        file.close()
        raise
    return file
