"""Paths and whole numbers of a million images: sequences in one block of memory each.

A tuple of a million objects is 400 bytes a path, and worse in a process that was forked from another one: reading an
object counts its references, which copies the page it lies on. Here nothing is an object before it is asked for. Not
pyarrow, whose strings have the same layout: it is 150 MB.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray


class IntArray(Sequence[int]):
    """Whole numbers, as a tuple of them would behave, in 8 bytes each.

    Args:
        values: the numbers, ``(N,)``.

    >>> labels = IntArray([0, 0, 1])
    >>> labels[2], labels[1:], labels == (0, 0, 1)
    (1, IntArray([0, 1]), True)
    """

    __slots__ = ("values",)

    def __init__(self, values: ArrayLike | Sequence[int] = ()):
        self.values: NDArray[np.int64] = np.asarray(values, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> IntArray: ...
    def __getitem__(self, index: int | slice) -> int | IntArray:
        return IntArray(self.values[index]) if isinstance(index, slice) else int(self.values[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self.values.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype) if copy else np.asarray(self.values, dtype=dtype)

    def __add__(self, other: Sequence[int]) -> IntArray:
        return IntArray(np.concatenate([self.values, np.asarray(other, dtype=np.int64)]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (IntArray, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and bool((self.values == np.asarray(other)).all())

    def __hash__(self) -> int:
        return hash(self.values.tobytes())

    def __repr__(self) -> str:
        return f"IntArray({_some(self.values.tolist(), len(self))})"


class PathArray(Sequence[Path]):
    """Paths, as a tuple of them would behave: their bytes one after another, and where each one ends (the layout of
    strings in Apache Arrow).

    Args:
        joined: the paths' bytes, as of :func:`os.fsencode`.
        ends: where in ``joined`` each path ends, ``(N,)``, rising.

    >>> paths = PathArray.of([Path("a/1.png"), Path("b/2.png")])
    >>> paths[1].name, len(paths), paths[:1] == (Path("a/1.png"),)
    ('2.png', 2, True)
    """

    __slots__ = ("ends", "joined")

    def __init__(self, joined: bytes, ends: NDArray[np.int64]):
        self.joined, self.ends = joined, ends

    @classmethod
    def of(cls, paths: Iterable[str | os.PathLike[str]]) -> PathArray:
        """These paths; unchanged if they are an array already."""
        if isinstance(paths, PathArray):
            return paths
        return cls.of_bytes(os.fsencode(Path(path)) for path in paths)

    @classmethod
    def of_bytes(cls, encoded: Iterable[bytes]) -> PathArray:
        """Paths by their bytes."""
        joined = bytearray()
        lengths = [joined.extend(one) or len(one) for one in encoded]  # type: ignore[func-returns-value]
        return cls(bytes(joined), np.cumsum(lengths, dtype=np.int64))

    @classmethod
    def joining(cls, parts: Sequence[PathArray]) -> PathArray:
        """One array of the paths of several."""
        before = np.cumsum([0, *(len(part.joined) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, before[:-1], strict=True)]
        return cls(b"".join(part.joined for part in parts), np.concatenate(ends) if ends else np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> PathArray: ...
    def __getitem__(self, index: int | slice) -> Path | PathArray:
        if isinstance(index, slice):
            return self.take(range(*index.indices(len(self))))
        return Path(os.fsdecode(self.encoded(index)))

    def __iter__(self) -> Iterator[Path]:
        return (Path(os.fsdecode(one)) for one in self.iter_encoded())

    def encoded(self, index: int) -> bytes:
        """The bytes of one path.

        Raises:
            IndexError: there is no such index.
        """
        index = range(len(self))[index]
        return self.joined[self.ends[index - 1] if index else 0 : self.ends[index]]

    def iter_encoded(self) -> Iterator[bytes]:
        """The bytes of each path in turn."""
        start = 0
        for first in range(0, len(self), 4096):  # never all numbers as objects at once
            for end in self.ends[first : first + 4096].tolist():
                yield self.joined[start:end]
                start = end

    def take(self, indices: Sequence[int]) -> PathArray:
        """The paths at those indices, in that order."""
        return PathArray.of_bytes(self.encoded(int(index)) for index in indices)

    def named(self, name: str) -> list[int]:
        """The indices of the paths whose last part is ``name``.

        >>> PathArray.of([Path("a/1.png"), Path("a/11.png"), Path("b/1.png")]).named("1.png")
        [0, 2]
        """
        wanted = os.fsencode(name)
        indices = []
        at = self.joined.find(wanted)
        while at >= 0:
            index = int(np.searchsorted(self.ends, at + len(wanted)))
            if self[index].name == name and self.ends[index] == at + len(wanted):
                indices.append(index)
            at = self.joined.find(wanted, at + 1)
        return indices

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PathArray):
            return np.array_equal(self.ends, other.ends) and self.joined == other.joined
        if isinstance(other, (tuple, list)):
            return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self.joined, self.ends.tobytes()))

    def __repr__(self) -> str:
        return f"PathArray({_some([str(path) for path in self[:3]], len(self))})"


def _some(first: list[Any], count: int, most: int = 3) -> str:
    shown = ", ".join(map(repr, first[:most]))
    return f"[{shown}]" if count <= most else f"[{shown}, … {count} in all]"
