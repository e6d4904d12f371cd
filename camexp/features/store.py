"""Features of images in a folder: one file an image, checked by its sum, safe for many processes at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from camexp.features.fingerprint import fingerprint
from camexp.files import atomic_write, write_json
from camexp.locks import is_at, lock_file
from camexp.record_log import RecordLog

ABOUT, IN_USE, WRITTEN = "about.json", "in_use", "written.log"


class FeatureStore:
    """The features of one trunk.

    Each image's tensor is a safetensors file of its own with a CRC-32 of the bytes, written under a temporary
    name and renamed. So processes that fill one store at once need not know of each other, a killed one leaves
    no wrong entry, and what a disk damaged is noticed and computed again. Reading maps the file into memory.

    How many entries there are, and of what size, is recorded beside them as they are written: to look at a million
    files takes longer than to compute thousands.

    Args:
        folder: of this trunk alone, inside the cache's folder, by the name of its :func:`fingerprint`.

    >>> import tempfile
    >>> store = FeatureStore(Path(tempfile.mkdtemp(), "vgg"))
    >>> _ = store.write("c0ffee", torch.ones(2, 2, 3, dtype=torch.float16))
    >>> store.read("c0ffee").shape, store.read("bad")
    (torch.Size([2, 2, 3]), None)
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.safetensors"

    def read(self, name: str) -> Tensor | None:
        """The tensor of that name; ``None`` where there is none, or where its sum does not fit."""
        try:
            with safe_open(self.path(name), "pt") as file:
                tensor = file.get_tensor("features")
                expected = (file.metadata() or {}).get("crc32")
        except (OSError, SafetensorError):  # absent, cut short, no such file format
            return None
        return tensor if expected == _sum(tensor) else None

    def write(self, name: str, tensor: Tensor) -> int:
        """Store a CPU tensor; returns its file's bytes.

        Raises:
            OSError: a full disk, a folder that takes no files.
        """
        with atomic_write(self.path(name)) as temporary:
            try:
                save_file({"features": tensor}, temporary, metadata={"crc32": _sum(tensor)})
            except SafetensorError as error:  # so it calls a full disk
                raise OSError(str(error)) from error
            return temporary.stat().st_size

    def open(self, about: dict[str, Any]) -> BinaryIO | None:
        """Make the folder, with what its features are of, and mark it as just used.

        Returns:
            A file that keeps others from removing the store until it is closed or this process ends; ``None`` where
            the file system knows no locks.

        Raises:
            OSError: it cannot be written to.
        """
        held = self._hold()
        if not (self.folder / ABOUT).exists():
            write_json(self.folder / ABOUT, about)
        os.utime(self.folder / ABOUT)
        if not self._written().size():  # a store of camexp 0.3 and before
            self.record_written(*self.scan())
        return held

    def record_written(self, count: int, size: int) -> None:
        """Record how many entries of how many bytes were written.

        Raises:
            OSError: a full disk, a folder that takes no files.
        """
        if count:
            self._written().append(np.array([[count, size]], "<i8").view(np.uint8))

    def recorded_size(self) -> tuple[int, int]:
        """How many entries of how many bytes there are, by what was recorded; what was written twice counts twice."""
        if not self._written().size():
            return self.scan()
        count, size = self._written().read()[0].view("<i8").sum(0).tolist()
        return count, size

    def scan(self) -> tuple[int, int]:
        """How many entries of how many bytes there are, by looking at each."""
        count = total = 0
        for entry in _entries(self.folder):
            with contextlib.suppress(OSError):  # another process may have just removed it
                total += entry.stat().st_size
                count += 1
        return count, total

    def last_used(self) -> float:
        """When a run last opened it, in seconds since 1970; 0 if that is not known."""
        try:
            return (self.folder / ABOUT).stat().st_mtime
        except OSError:
            return 0.0

    def is_intact(self) -> bool:
        """Whether the folder is a store at all: its description belongs to its name."""
        try:
            about = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
            return isinstance(about, dict) and fingerprint(about) == self.folder.name
        except (OSError, ValueError):
            return False

    def remove(self) -> bool:
        """Remove the store, unless a running process holds it; returns whether it is gone.

        Only its own files go, and the folder only if nothing else lies there.
        """
        if not self.is_intact():
            return False
        try:
            held = lock_file(self.folder / IN_USE, shared=False)
        except OSError:
            return False
        with contextlib.closing(held), contextlib.suppress(OSError):
            for entry in _entries(self.folder, temporary=True):
                os.unlink(entry)
            for part in _parts(self.folder):
                with contextlib.suppress(OSError):  # something else lies there
                    os.rmdir(part)
            # the lock last: who waits for it sees then that it is another's
            for name in (WRITTEN, ABOUT, IN_USE):
                (self.folder / name).unlink(missing_ok=True)
            self.folder.rmdir()
        return not (self.folder / ABOUT).exists()

    def _hold(self) -> BinaryIO | None:
        path = self.folder / IN_USE
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                held = lock_file(path, shared=True, wait=True)
            except FileNotFoundError:  # the folder was removed in between
                continue
            except OSError:
                return None
            if is_at(held, path):
                return held
            held.close()  # it was removed while this process waited for it

    def _written(self) -> RecordLog:
        return RecordLog(self.folder / WRITTEN, 16)


def stores(root: Path) -> list[FeatureStore]:
    """All stores below a cache's folder, the longest unused first. Other folders there are not looked at."""
    found = [FeatureStore(about.parent) for about in root.glob(f"*/{ABOUT}")]
    return sorted((store for store in found if store.is_intact()), key=lambda store: store.last_used())


def evict(root: Path, keep: FeatureStore, max_bytes: float) -> int:
    """Remove the stores unused for longest until all fit into ``max_bytes``; never ``keep`` or one in use.

    Returns:
        The bytes on disk afterwards.
    """
    found = stores(root)
    sizes = {store.folder: store.recorded_size()[1] for store in found}
    if sum(sizes.values()) > max_bytes:  # before anything goes: what was recorded may be more than there is
        sizes = {store.folder: store.scan()[1] for store in found}
    total = sum(sizes.values())
    for store in found:
        if total <= max_bytes:
            break
        if store.folder != keep.folder and store.remove():
            total -= sizes[store.folder]
    return total


def _parts(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as inner:
        for part in inner:
            if re.fullmatch("[0-9a-f]{2}", part.name) and part.is_dir(follow_symlinks=False):
                yield part


def _entries(folder: Path, temporary: bool = False) -> Iterator[os.DirEntry[str]]:
    """The files of the entries; with those that killed processes did not come to rename."""
    for part in _parts(folder):
        with contextlib.suppress(OSError), os.scandir(part) as entries:
            for entry in entries:
                whole = not entry.name.startswith(".")
                if entry.name.endswith(".safetensors") and (whole or (temporary and "~" in entry.name)):
                    yield entry


def _sum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()):08x}"
