"""Writing so that nothing is ever half-written."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image
from PIL.PngImagePlugin import PngInfo

T = TypeVar("T")


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary name beside ``path``; renamed to it when the block ends well, removed when it does not.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_write(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    try:
        with naming(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Tell which file an error of the block is about: what fails to be written to an open one, as on a full disk,
    names none.

    >>> with naming("a.csv"):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'a.csv'
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def temporary_name(name: str) -> str:
    """What a file is called until it is whole: hidden, with the process's number, which keeps two writers apart, and
    with its ending, from which Pillow tells the format. Of a name near the 255 bytes that file systems allow a digest.
    """
    whole = f".{_writer or os.getpid()}~{name}"
    if len(os.fsencode(whole)) <= 200:
        return whole
    digest, ending = hashlib.blake2b(os.fsencode(name), digest_size=16).hexdigest(), Path(name).suffix
    return f".{_writer or os.getpid()}~{digest}{ending if len(os.fsencode(ending)) < 20 else ''}"


_writer = ""


@contextmanager
def writing_as(name: str) -> Iterator[None]:
    """Have the temporary names of this process begin with a name that is its own among all that run, and that a later
    process will have again: what a kill left of a file is then replaced when the file is written after all."""
    global _writer
    before, _writer = _writer, name
    try:
        yield
    finally:
        _writer = before


def as_text(path: str | os.PathLike[str]) -> str:
    r"""A path, or a class's name, as valid text: bytes that are none are written out, so that no two become one.

    >>> as_text(os.fsdecode(b"caf\xe9.jpg"))
    'caf\\xe9.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def content_digest(path: str | os.PathLike[str] | bytes) -> str:
    """The digest of a file's bytes, 32 hexadecimal digits.

    The bytes and not the name: a data set copied to another disk keeps its features, an edited file loses its own.
    """
    with open(path, "rb") as file:
        digest = hashlib.blake2b(digest_size=16)
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def file_stamp(path: str | os.PathLike[str]) -> bytes:
    """What stands for a file as it is now, without its being read: its size, and when its bytes changed. A copy that
    keeps the time (``cp -p``, rsync, an archive) has the same, wherever it lies.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(path)
    return f"{status.st_size} {status.st_mtime_ns}\n".encode()


def fsync(path: Path) -> int:
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
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: str | os.PathLike[str], kind: Callable[..., T]) -> T | None:
    """What :func:`write_json` wrote of a dataclass; ``None`` where there is no such file, or it holds anything else."""
    try:
        return kind(**json.loads(Path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A CSV with a header line, UTF-8; ``None`` becomes an empty cell."""
    # surrogateescape: a file name need not be valid UTF-8, and its row must not be lost for that
    with (
        atomic_write(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def save_png(path: str | os.PathLike[str], image: Image.Image, made: str = "") -> None:
    """A PNG, quick to write: runs of equal bytes are all that is looked for, which on photographs costs half the time
    of zlib's search for repetitions and, for its noise, no bytes. How it was ``made`` is its text named Description."""
    text = PngInfo()
    if made:
        text.add_itxt("Description", made)
    with atomic_write(path) as temporary:
        image.save(temporary, "PNG", pnginfo=text, compress_level=1, compress_type=zlib.Z_RLE)


def display_path(path: str | os.PathLike[str]) -> str:
    """A path relative to where the user stands, if it lies below that: commands that name it stay short."""
    relative = os.path.relpath(path)
    return os.fspath(path) if relative.startswith("..") else relative
