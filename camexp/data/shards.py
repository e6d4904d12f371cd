"""Tar shards, as webdataset writes them, read at any place: an index says where each image lies.

Only the index is kept from run to run; a shard is read where it lies. For each image its file is opened anew, some
microseconds beside milliseconds of decoding, so that threads and forked processes share nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.data.arrays import PathArray
from camexp.data.source import bytes_digest
from camexp.errors import UserError, reason
from camexp.files import atomic_write
from camexp.images import UnreadableImage, decode_image, image_extensions
from camexp.record_log import KEY_BYTES, cache_path, file_key

VERSION = 1  # of the index's file
LABELS = (".cls", ".json")  # the members that may say the class


@dataclass(frozen=True)
class ShardIndex:
    """Where the images of one shard lie.

    Attributes:
        names: of the images in the shard, as ``n01440764/7.jpg``.
        spans: ``(N, 2)`` the first byte and the number of bytes of each.
        labels: what follows the images' names, as JSON: ending → text of the member, of those in :data:`LABELS`.
    """

    names: PathArray
    spans: NDArray[np.int64]
    labels: PathArray


class ShardImages:
    """The images of several shards, those of one after those of the other.

    Args:
        shards: the files.
        indices: of each.
    """

    def __init__(self, shards: list[Path], indices: list[ShardIndex]):
        self.shards = shards
        self.spans = np.concatenate([index.spans for index in indices])
        self.ends = np.cumsum([len(index.spans) for index in indices])

    def __len__(self) -> int:
        return len(self.spans)

    def _place(self, index: int) -> tuple[Path, int, int]:
        start, size = self.spans[index].tolist()
        return self.shards[int(np.searchsorted(self.ends, index, side="right"))], start, size

    def _content(self, index: int) -> bytes:
        shard, start, size = self._place(index)
        with shard.open("rb", buffering=0) as file:
            file.seek(start)
            content = file.read(size)
        if len(content) < size:
            raise OSError(f"{shard} is shorter than its index says")
        return content

    def read(self, index: int) -> Image.Image:
        try:
            content = self._content(index)
        except OSError as error:
            raise UnreadableImage(reason(error)) from error
        return decode_image(content)

    def digest(self, index: int) -> str:
        return bytes_digest(self._content(index))

    def key(self, index: int) -> bytes | None:
        shard, start, size = self._place(index)
        return hashlib.blake2b(file_key(os.fsencode(shard)) + b"%d %d" % (start, size), digest_size=KEY_BYTES).digest()


def shard_index(shard: Path, option: str) -> ShardIndex:
    """A shard's index, read from the user's cache folder where it was made before for the file as it is now.

    Raises:
        UserError: no tar, one that is cut short or compressed, or one without images.
    """
    try:
        name = hashlib.blake2b(file_key(os.fsencode(shard)), digest_size=16).hexdigest()
    except OSError as error:
        raise UserError(f"{option}: {shard} cannot be read ({reason(error)}): give the path of a tar shard") from error
    kept = cache_path(Path(name), "shards").with_suffix(".npz")
    with contextlib.suppress(OSError, ValueError, KeyError, EOFError):
        return _load(kept)
    index = _scan(shard, option)
    with contextlib.suppress(OSError):  # a read-only home only means looking again next time
        _save(kept, index)
    return index


def _scan(shard: Path, option: str) -> ShardIndex:
    names: list[bytes] = []
    spans: list[tuple[int, int]] = []
    labels: list[bytes] = []
    for stem, members in _samples(shard, option):
        image = next((ending for ending in members if _is_image(ending)), None)
        if image is None:
            continue
        member, _ = members[image]
        names.append(os.fsencode(stem + image))
        spans.append((member.offset_data, member.size))
        told = {ending: text for ending, (_, text) in members.items() if ending in LABELS}
        labels.append(json.dumps(told, ensure_ascii=False).encode("utf-8", "surrogateescape"))
    if not names:
        raise UserError(
            f"{option}: {shard} holds no image: expected members as 000017.jpg and 000017.cls, as webdataset writes "
            "them"
        )
    return ShardIndex(PathArray.of_bytes(names), np.array(spans, np.int64), PathArray.of_bytes(labels))


Members = dict[str, tuple[tarfile.TarInfo, str]]


def _samples(shard: Path, option: str) -> Iterator[tuple[str, Members]]:
    """The members of each sample by their endings, with the text of those that say the class. As webdataset has it,
    a name's ending begins at the first dot of its last part, and members of one name stand together."""
    stem, members = "", Members()
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                folder, slash, name = member.name.rpartition("/")
                base, dot, ending = name.partition(".")
                if not member.isreg() or not base or member.issparse():
                    continue
                if folder + slash + base != stem:
                    if members:
                        yield stem, members
                    stem, members = folder + slash + base, Members()
                ending = dot + ending.lower()
                text = ""
                if ending in LABELS:
                    content = tar.extractfile(member)
                    text = content.read(1 << 20).decode("utf-8", "replace").strip() if content else ""
                members[ending] = member, text
            end = tar.offset
        if members:
            yield stem, members
        with shard.open("rb") as file:  # tarfile is content with the end of the file, or with a damaged header
            file.seek(end)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"no end of the archive at byte {end}")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(
            f"{option}: {shard} is no whole tar ({reason(error)}): it was cut short, or is compressed, in which "
            "nothing can be read at its place; fetch or pack it anew"
        ) from error


def _is_image(ending: str) -> bool:
    """Whether this is the photograph: not what belongs to it, as ``.mask.png``."""
    return ending.count(".") == 1 and ending in image_extensions()


def _save(path: Path, index: ShardIndex) -> None:
    arrays: dict[str, Any] = {
        "version": np.array(VERSION), "spans": index.spans, "name_ends": index.names.ends,
        "names": np.frombuffer(index.names.joined, np.uint8), "label_ends": index.labels.ends,
        "labels": np.frombuffer(index.labels.joined, np.uint8),
    }  # fmt: skip
    with atomic_write(path) as temporary:
        np.savez(temporary, **arrays)


def _load(path: Path) -> ShardIndex:
    with np.load(path, allow_pickle=False) as kept:
        if int(kept["version"]) != VERSION:
            raise ValueError("of another version")
        names = PathArray(kept["names"].tobytes(), kept["name_ends"])
        return ShardIndex(names, kept["spans"], PathArray(kept["labels"].tobytes(), kept["label_ends"]))
