"""The cache of what is known of a million files: records of equal size, appended by any number of processes.

Not SQLite or LMDB: home folders lie on network file systems, where both advise against their locks; here no lock is
needed, and a million records are one array.
"""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
_HEAD = struct.Struct("<8sII")  # what it is, how many records, their CRC-32
_STAMPS = struct.Struct("<qqq")

Records = NDArray[np.uint8]


def cache_path(root: Path, kind: str) -> Path:
    """The cache file for the files below ``root``, in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:24]
    return Path(cache, "camexp", kind, f"{name}.log")


def file_key(path: bytes) -> bytes:
    """``KEY_BYTES`` that stand for a file as it is now: its path, its size, and when it and its entry changed.

    The entry's time as well: who unpacks a mended archive gets the old size and time of change with other bytes.

    Raises:
        OSError: there is no such file.
    """
    status = os.stat(path)
    stamps = _STAMPS.pack(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.blake2b(stamps + os.path.join(os.getcwdb(), path), digest_size=KEY_BYTES).digest()


class RecordLog:
    """Records of equal size in a file that only grows.

    They are appended in portions, each in one write and with a CRC-32: whole or not at all, whenever a process is
    killed. What a kill, a disk or a file system without appending has damaged is passed over: no lock is needed.

    Args:
        path: the file; it need not exist.
        width: bytes of a record.

    >>> import tempfile
    >>> log = RecordLog(Path(tempfile.mkdtemp(), "a.log"), width=2)
    >>> log.append(np.array([[1, 2], [3, 4]], np.uint8))
    >>> records, end = log.read()
    >>> records.tolist(), len(log.read(end)[0])
    ([[1, 2], [3, 4]], 0)
    """

    def __init__(self, path: Path, width: int):
        self.path, self.width = path, width
        self._magic = b"camexp" + width.to_bytes(2, "little")

    def append(self, records: Records) -> None:
        """Add ``(R, width)`` records.

        Raises:
            OSError: a full disk, a folder that takes no files.
        """
        if not len(records):
            return
        body = np.ascontiguousarray(records, dtype=np.uint8).tobytes()
        portion = _HEAD.pack(self._magic, len(records), zlib.crc32(body)) + body
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            if file.write(portion) != len(portion):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self, start: int = 0) -> tuple[Records, int]:
        """All records ``(R, width)`` from a byte offset on, and the offset to read from next time."""
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                content = file.read()
        except OSError:
            return np.empty((0, self.width), np.uint8), start
        bodies, end = [], 0
        for first, last in self._portions(content):
            bodies.append(content[first:last])
            end = last
        return np.frombuffer(b"".join(bodies), np.uint8).reshape(-1, self.width), start + end

    def size(self) -> int:
        """Bytes of the file; 0 where there is none."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _portions(self, content: bytes) -> Iterator[tuple[int, int]]:
        at = content.find(self._magic)
        while 0 <= at <= len(content) - _HEAD.size:
            _, count, expected = _HEAD.unpack_from(content, at)
            first = at + _HEAD.size
            last = first + count * self.width
            if last <= len(content) and zlib.crc32(memoryview(content)[first:last]) == expected:
                yield first, last
                at = content.find(self._magic, last)
            else:  # cut short or damaged: what comes after it may be sound
                at = content.find(self._magic, at + 1)


class SortedRecords:
    """Records found by their first ``KEY_BYTES``, without an object for any of them.

    Args:
        records: ``(R, W)``, W from ``KEY_BYTES``; of those with one key, any is kept.

    >>> table = SortedRecords(np.arange(40, dtype=np.uint8).reshape(2, 20))
    >>> table.get(bytes(range(20, 36))), table.get(bytes(16))
    (b"$%&'", None)
    """

    def __init__(self, records: Records):
        heads = _halves(records, 0)
        order = np.lexsort((_halves(records, 1), heads))
        keys = records[order, :KEY_BYTES]
        new = np.ones(len(order), bool)
        new[1:] = (keys[1:] != keys[:-1]).any(1)
        self.records, self.heads = records[order[new]], heads[order[new]]

    def __len__(self) -> int:
        return len(self.records)

    def get(self, key: bytes) -> bytes | None:
        """What a record holds after its key."""
        index = int(self.heads.searchsorted(np.uint64(int.from_bytes(key[:8], "little"))))
        if index == len(self) or (record := self.records[index].tobytes())[:KEY_BYTES] != key:
            return None
        return record[KEY_BYTES:]

    def has(self, keys: Records) -> NDArray[np.bool_]:
        """Which of ``(N, KEY_BYTES)`` keys there are, ``(N,)``."""
        if not len(self):
            return np.zeros(len(keys), bool)
        indices = np.minimum(self.heads.searchsorted(_halves(keys, 0)), len(self) - 1)
        found: NDArray[np.bool_] = (self.records[indices, :KEY_BYTES] == keys).all(1)
        return found

    def with_more(self, records: Records) -> SortedRecords:
        """These and others."""
        return SortedRecords(np.concatenate([self.records, records]))


def _halves(records: Records, number: int) -> NDArray[np.uint64]:
    """The first or the second half of each key as a number."""
    return np.ascontiguousarray(records[:, 8 * number : 8 * number + 8]).view("<u8")[:, 0]
