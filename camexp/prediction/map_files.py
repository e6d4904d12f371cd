"""Maps of many images in a few files of about one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from camexp.launching.shards import Shard
from camexp.prediction.writer import Records, Writer

FILE_BYTES = 128 * 10**6  # of a file, about: what readers of many files like


class Portion(NamedTuple):
    """One image's maps, as they were kept."""

    content: Any
    size: int  # bytes


class MapFiles(Writer):
    """``maps-00000.SUFFIX`` …; of shards ``maps-00003-of-00016-00000.SUFFIX`` …

    The records are whole by themselves and may be cut after any of them; they become files once all images are there.

    Args:
        folder: where the results of all shards are.
        shard: whose files these are.
    """

    of_shard = True
    suffix: str

    def __init__(self, folder: Path, shard: Shard):
        self.folder = folder
        self.prefix = "maps" if shard.count == 1 else f"maps-{shard.name}"

    def assemble(self, records: Sequence[Records], finished: bool = True) -> Sequence[Path]:
        if not finished:
            return ()
        for path in self.folder.glob(f"{self.prefix}-[0-9][0-9][0-9][0-9][0-9].{self.suffix}"):
            path.unlink()  # of an earlier run, which may have had more
        held = 0
        made: list[Path] = []
        with ExitStack() as file:
            for one in (one for kept in records if kept.path.exists() for one in self.read(kept.path)):
                if not held:
                    made.append(self.folder / f"{self.prefix}-{len(made):05d}.{self.suffix}")
                    append = file.enter_context(self.writing(made[-1]))
                append(one.content)
                held += one.size
                if held >= FILE_BYTES:
                    file.close()
                    held = 0
        return made

    def read(self, records: Path) -> Iterator[Portion]:
        """The records again, one by one."""
        raise NotImplementedError

    def writing(self, path: Path) -> AbstractContextManager[Callable[[Any], None]]:
        """A file, whole or not at all: in the block, what takes one image's maps after the other."""
        raise NotImplementedError


def as_float16(cam: NDArray[np.float32]) -> NDArray[Any]:
    """A map in half the bytes, little-endian; as it is where float16 cannot hold its values.

    >>> as_float16(np.array([[1.5]], np.float32)).dtype.name, as_float16(np.array([[1e6]], np.float32)).dtype.name
    ('float16', 'float32')
    """
    with np.errstate(over="ignore"):
        half = cam.astype("<f2")
    return half if np.array_equal(np.isfinite(half), np.isfinite(cam)) else cam.astype("<f4")
