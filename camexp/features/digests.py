"""The digests of a data set's files, cached from run to run."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from camexp.data.imageset import ImageSet
from camexp.files import content_digest
from camexp.record_log import KEY_BYTES, RecordLog, SortedRecords, cache_path, file_key

WIDTH = KEY_BYTES + 16  # bytes of a record: what the file was, and the digest of its bytes
PORTION = 256  # files after which their digests are written down: so many a killed process computes again


class Digests:
    """The digests of files' bytes, cached for all processes and runs; a file is hashed again only when it changed.

    Args:
        cache: where they are stored.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.png").write_bytes(b"a")
    >>> digests = Digests(RecordLog(folder / "digests.log", WIDTH))
    >>> digests.of(folder / "a.png") == content_digest(folder / "a.png")
    True
    """

    def __init__(self, cache: RecordLog):
        self.cache = cache
        records, self._end = cache.read()
        self._table = SortedRecords(records)
        self._new: dict[bytes, bytes] = {}  # not written down yet
        self._writes = True

    def of(self, path: Path) -> str:
        """The digest of a file's bytes, 32 hexadecimal digits.

        Raises:
            OSError: it cannot be read.
        """
        return self._find(file_key(bytes(path)), partial(content_digest, path))

    def of_image(self, images: ImageSet, index: int) -> str:
        """The digest of an image's content, 32 hexadecimal digits.

        Raises:
            OSError: it cannot be read.
        """
        key = images.key(index)
        return images.digest(index) if key is None else self._find(key, partial(images.digest, index))

    def _find(self, key: bytes, compute: Callable[[], str]) -> str:
        found = self._new.get(key) or self._table.get(key)
        if found is None and self._read_on():
            found = self._table.get(key)
        if found is None:
            found = bytes.fromhex(compute())
            self._new[key] = found
            if len(self._new) >= PORTION and self._writes:
                self.save()
        return found.hex()

    def save(self) -> None:
        """Write down what is new."""
        records = np.frombuffer(b"".join(key + digest for key, digest in self._new.items()), np.uint8)
        try:
            self.cache.append(records.reshape(-1, WIDTH))
        except OSError:  # a read-only home: they are cached in this process alone
            self._writes = False
        else:
            self._new.clear()

    def _read_on(self) -> bool:
        """Take in what all processes have written down since, if that is a good part of the whole: to sort a million
        records for each thousand new ones would take longer than the digests."""
        more = (self.cache.size() - self._end) // WIDTH
        if more < max(PORTION, len(self._table) // 4):
            return False
        records, self._end = self.cache.read(self._end)
        self._table = self._table.with_more(records)
        return True


@lru_cache(maxsize=8)
def digests_of(root: Path) -> Digests:
    """The digests of the files of a data set: one table for all that read it in this process, and, as long as nobody
    adds to it, for those that are forked from it."""
    return Digests(RecordLog(cache_path(root, "digests"), WIDTH))
