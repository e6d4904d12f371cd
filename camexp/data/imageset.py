"""What a data set is here: files with a label each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from camexp.errors import UserError
from camexp.labels import as_typed, resolve_label


@dataclass(frozen=True)
class ImageSet:
    """Labelled image files.

    Attributes:
        root: the folder they lie in.
        classes: names, in the order of the labels.
        paths: one file an image.
        labels: one index into ``classes`` an image.
        left_out: how many files were passed over as no images of the data set (stray files).
        mask: the object's pixels in an image, ``(H, W)`` bool, where the data set brings them.
    """

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    left_out: int = 0
    mask: Callable[[Path], NDArray[np.bool_]] | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def count(self) -> list[int]:
        """How many images each class has."""
        return (
            np.bincount(self.labels, minlength=len(self.classes)).tolist() if self.labels else [0] * len(self.classes)
        )

    def only(self, wanted: int | Sequence[str | int]) -> ImageSet:
        """The data set limited to some classes, renumbered in their own order.

        Args:
            wanted: the first so many classes, or a list of names or labels (names come first: a folder may be
                called ``7``).

        Raises:
            UserError: an unknown class, one twice, or fewer than two.
        """
        if isinstance(wanted, (int, float)):
            if isinstance(wanted, (bool, float)) or not 2 <= wanted <= len(self.classes):
                raise UserError(
                    f"dataset.classes={wanted} is out of range: expected 2 to {len(self.classes)}, or names"
                )
            chosen = list(range(wanted))
        else:
            if isinstance(wanted, str):
                wanted = [wanted]
            chosen = sorted(resolve_label(label, self.classes, "dataset.classes") for label in as_typed(wanted))
            if len(set(chosen)) != len(chosen) or len(chosen) < 2:
                raise UserError(f"dataset.classes={list(wanted)} must name at least two classes, each once")
        new = {old: label for label, old in enumerate(chosen)}
        kept = [index for index, label in enumerate(self.labels) if label in new]
        return replace(
            self.take(kept),
            classes=tuple(self.classes[old] for old in chosen),
            labels=tuple(new[self.labels[index]] for index in kept),
        )

    def require_classes(self) -> None:
        """Make sure that there is something to tell apart.

        Raises:
            UserError: a class without images, or fewer than two classes.
        """
        empty = [name for name, count in zip(self.classes, self.count(), strict=True) if not count]
        if empty:
            raise UserError(
                f"dataset.root={self.root}: no image in the class folder{'s' * (len(empty) > 1)} "
                f"{', '.join(empty[:5])}{' …' * (len(empty) > 5)}: "
                "remove it, or name the classes to use with dataset.classes=[…]"
            )
        if len(self.classes) < 2:
            raise UserError(
                f"dataset.root={self.root} holds one class only ({self.classes[0]}): at least two are needed"
            )

    def take(self, indices: Sequence[int]) -> ImageSet:
        """The images at those places, with all the classes."""
        return replace(
            self,
            paths=tuple(self.paths[index] for index in indices),
            labels=tuple(self.labels[index] for index in indices),
        )
