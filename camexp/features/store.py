"""Features of images in a folder: one file an image, checked by its sum, safe for many processes at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from camexp.files import lock, replacing, write_json

ABOUT, IN_USE = "about.json", "in_use"


class FeatureStore:
    """The features of one trunk.

    Each image's tensor is a safetensors file of its own with a CRC-32 of the bytes, written under a temporary
    name and renamed. So processes that fill one store at once need not know of each other, a killed one leaves
    no wrong entry, and what a disk damaged is noticed and computed again. Reading maps the file into memory.

    Args:
        folder: of this trunk alone, inside the cache's folder.

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
        with replacing(self.path(name)) as temporary:
            try:
                save_file({"features": tensor}, temporary, metadata={"crc32": _sum(tensor)})
            except SafetensorError as error:  # so it calls a full disk
                raise OSError(str(error)) from error
            return temporary.stat().st_size

    def create(self, about: dict[str, Any]) -> None:
        """Make the folder, with what its features are of, and mark it as just used.

        Raises:
            OSError: it cannot be written to.
        """
        if not (self.folder / ABOUT).exists():
            write_json(self.folder / ABOUT, about)
        os.utime(self.folder / ABOUT)

    def count(self) -> int:
        """How many entries there are."""
        return sum(1 for _ in _entries(self.folder))

    def size(self) -> int:
        """Bytes on disk."""
        total = 0
        for entry in _entries(self.folder):
            with contextlib.suppress(OSError):  # another process may have just removed it
                total += entry.stat().st_size
        return total

    def last_used(self) -> float:
        """When a run last opened it, in seconds since 1970; 0 if that is not known."""
        try:
            return (self.folder / ABOUT).stat().st_mtime
        except OSError:
            return 0.0

    def hold(self) -> BinaryIO | None:
        """Mark the store as in use until the file returned is closed or this process ends."""
        with contextlib.suppress(OSError):
            return lock(self.folder / IN_USE, shared=True)
        return None

    def remove(self) -> bool:
        """Remove the store, unless a running process holds it; returns whether it is gone."""
        try:
            held = lock(self.folder / IN_USE, shared=False)
        except OSError:
            return False
        with contextlib.closing(held):
            shutil.rmtree(self.folder, ignore_errors=True)
        return not (self.folder / ABOUT).exists()


def stores(root: Path) -> list[FeatureStore]:
    """All stores below a cache's folder, the longest unused first."""
    found = [FeatureStore(about.parent) for about in root.glob(f"*/{ABOUT}")]
    return sorted(found, key=lambda store: store.last_used())


def make_room(root: Path, keep: FeatureStore, max_bytes: float) -> int:
    """Remove the stores unused for longest until all fit into ``max_bytes``; never ``keep`` or one in use.

    Returns:
        The bytes on disk afterwards.
    """
    found = stores(root)
    sizes = {store.folder: store.size() for store in found}
    total = sum(sizes.values())
    for store in found:
        if total <= max_bytes:
            break
        if store.folder != keep.folder and store.remove():
            total -= sizes[store.folder]
    return total


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(OSError), os.scandir(folder) as inner:
        for part in inner:
            if part.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError), os.scandir(part) as entries:
                    yield from (entry for entry in entries if not entry.name.startswith("."))


def _sum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()):08x}"
