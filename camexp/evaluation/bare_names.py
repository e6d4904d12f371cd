"""Files that are called as an image is, without its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path


class BareNames:
    """Whether an image's name alone, without folder and ending, says which of many it is.

    Args:
        paths: the images.

    >>> names = BareNames([Path("a/1.jpg"), Path("b/1.png"), Path("b/2.png")])
    >>> names.tells(Path("b/1.png")), names.tells(Path("b/2.png"))
    (False, True)
    """

    def __init__(self, paths: Sequence[Path]):
        self._paths = paths

    def tells(self, path: Path) -> bool:
        """Whether no other image is called so."""
        return path.stem not in self._shared

    @cached_property
    def _shared(self) -> frozenset[str]:
        """Found when it is first asked for: of a million images it takes seconds."""
        count = Counter(path.stem for path in self._paths)
        return frozenset(name for name, images in count.items() if images > 1)
