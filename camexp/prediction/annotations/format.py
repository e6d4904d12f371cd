"""What each format of annotations does with an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from camexp.files import atomic_write
from camexp.prediction.annotations.objects import AnnotatedImage


class Format:
    """One format: a folder of files for each image, and of lists of all images.

    Args:
        folder: ``annotations/FORMAT``.
        classes: the class names, in the order of the labels.
        about: where the annotations come from, in a line.

    Attributes:
        files: the folder of the images' own files, below the format's; ``None`` where images have none.
        lists_names: whether there is a list of the images, a line each.
    """

    files: str | None = ""
    lists_names = False

    def __init__(self, folder: Path, classes: Sequence[str], about: str):
        self.folder, self.classes, self.about = folder, classes, about

    def begin(self) -> None:
        """Write what does not depend on the images; lists of an earlier call begin anew."""

    def write(self, image: AnnotatedImage) -> Any:
        """Write one image's own file; several threads may call at once.

        Returns:
            What :meth:`append` needs of it: JSON.
        """
        raise NotImplementedError

    def append(self, written: Any) -> None:
        """One image's row in the lists; called in the order of the images, after :meth:`begin`."""

    def close(self) -> None:
        """Write what needs all images; called after the last of them."""

    def path(self, image: AnnotatedImage, ending: str) -> Path:
        """The image's file: the folders below the input's are kept."""
        name = stem(image.name)
        return self.folder / (self.files or "") / name.with_name(name.name + ending)


def stem(name: str) -> PurePosixPath:
    """An image's name without its ending, by which most formats know it.

    >>> str(stem("a b/c.d.jpg"))
    'a b/c.d'
    """
    path = PurePosixPath(name)
    return path.with_name(path.stem)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A list of classes: a name is one line, whatever it holds."""
    text = "".join(f"{' '.join(line.splitlines())}\n" for line in lines)
    with atomic_write(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "surrogateescape"))


def append_line(path: Path, line: str) -> None:
    """One more line of a list; names need not be valid UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(f"{line}\n".encode("utf-8", "surrogateescape"))
