"""Files that are called as an image is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path


class FileNames:
    """By which names, without an ending, a file is an image's: its path below the root, or the bare name if no other
    image has that.

    Args:
        paths: all images.
        root: their folder.

    >>> names = FileNames([Path("r/a/1.jpg"), Path("r/b/1.png"), Path("r/b/2.png")], Path("r"))
    >>> [[name.as_posix() for name in names.of(Path(path))] for path in ("r/b/1.png", "r/b/2.png")]
    [['b/1'], ['b/2', '2']]
    """

    def __init__(self, paths: Sequence[Path], root: Path):
        self._paths, self.root = paths, root

    def of(self, path: Path) -> Iterator[Path]:
        """Those of one image, the path below the root first."""
        relative = path.relative_to(self.root) if path.is_relative_to(self.root) else Path(path.name)
        yield relative.with_suffix("")
        if path.stem not in self._shared:
            yield Path(path.stem)

    def find(self, path: Path, folder: Path, endings: Sequence[str]) -> Path | None:
        """The file of an image in a folder, with the first of these endings that there is."""
        candidates = (folder / f"{name}{ending}" for name in self.of(path) for ending in endings)
        return next((one for one in candidates if one.is_file()), None)

    @cached_property
    def _shared(self) -> frozenset[str]:
        """Found when the first file is not at its path: of a million images it takes seconds."""
        count = Counter(path.stem for path in self._paths)
        return frozenset(name for name, images in count.items() if images > 1)
