"""What a data set is here: images with a label each, in files or from another source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.data.arrays import IntArray, PathArray
from camexp.data.box_formats import Boxes
from camexp.data.source import ImageSource
from camexp.errors import UserError
from camexp.files import content_digest
from camexp.images import image_size, read_image, read_pixels
from camexp.labels import labels_as_text, resolve_label
from camexp.record_log import file_key

UNLABELLED = ("",)  # the classes of images of which nobody says what they show
PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: files, or what a source reads.

    Attributes:
        root: the folder they lie in.
        classes: names, in the order of the labels.
        paths: one file an image, or with a ``source`` one name each as of a file below ``root``, by which tables, boxes
            and masks know it; kept as a :class:`PathArray`, whatever sequence was given.
        labels: one index into ``classes`` an image; kept as an :class:`IntArray`.
        left_out: how many files were passed over as no images of the data set (stray files).
        mask: the object's pixels in an image, ``(H, W)`` bool, where the data set brings them; ``None``: of this one
            it has none.
        part: where the data set says which images are to train, to validate and to test on: one index into
            :data:`PARTS` an image; kept as an :class:`IntArray`.
        ignore: pixels beside the mask that count as neither object nor background, ``(H, W)`` bool, or ``None``.
        boxes: the objects' boxes in an image, ``(G, 4)`` x0, y0, x1, y1 in pixels, corners inclusive, or ``None``.
        masked: whether an image has a mask, without reading it; ``None``: all have, if any has.
        source: what reads the images that are not files.
        numbers: the index of each image in the source; kept as an :class:`IntArray`. ``None``: the source's own order.
        option: the option that gave ``root``, for errors.
        among: the paths of the whole data set, where these images are known to be a part of it: what is kept by bare
            file names is told apart among all of them.

    >>> images = ImageSet(Path("r"), ("cat", "dog"), (Path("r/cat/1.png"), Path("r/dog/1.png")), (0, 1))
    >>> len(images), images.paths[1].parent.name, images.labels[1], images.count()
    (2, 'dog', 1, [1, 1])
    """

    root: Path
    classes: tuple[str, ...]
    paths: Sequence[Path]
    labels: Sequence[int]
    left_out: int = 0
    mask: Callable[[Path], NDArray[np.bool_] | None] | None = field(default=None, compare=False)
    part: Sequence[int] | None = None
    ignore: Callable[[Path], NDArray[np.bool_] | None] | None = field(default=None, compare=False)
    boxes: Callable[[Path], Boxes | None] | None = field(default=None, compare=False)
    masked: Callable[[Path], bool] | None = field(default=None, compare=False)
    source: ImageSource | None = field(default=None, compare=False)
    numbers: Sequence[int] | None = None
    option: str = field(default="dataset.root", compare=False)
    among: Sequence[Path] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.numbers is not None:
            object.__setattr__(self, "numbers", IntArray(self.numbers))
        if self.part is not None:
            object.__setattr__(self, "part", IntArray(self.part))
        object.__setattr__(self, "paths", PathArray.of(self.paths))
        object.__setattr__(self, "labels", IntArray(self.labels))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def path_array(self) -> PathArray:
        """``paths``, for who wants their bytes."""
        return PathArray.of(self.paths)

    @property
    def given(self) -> str:
        """The option that gave ``root``, with it, for the beginning of an error's sentence."""
        return f"{self.option}={self.root}"

    def read(self, index: int) -> Image.Image:
        """An image: upright, in 8-bit RGB, of any size.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        return read_image(self.paths[index]) if self.source is None else self.source.read(self._number(index))

    def pixels(self, index: int) -> NDArray[np.uint8]:
        """The bytes of :meth:`read`'s image, ``(H, W, 3)``, of a file as fast as they can be had.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        return read_pixels(self.paths[index]) if self.source is None else np.asarray(self.read(index))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height of :meth:`read`'s image; a file is not decoded for that.

        Raises:
            OSError: it is no image.
        """
        return image_size(self.paths[index]) if self.source is None else self.read(index).size

    def digest(self, index: int) -> str:
        """What stands for an image's content, 32 hexadecimal digits; of a file's bytes where it is one.

        Raises:
            OSError: it cannot be read.
        """
        if self.source is None:
            return content_digest(self.path_array.encoded(index))
        return self.source.digest(self._number(index))

    def key(self, index: int) -> bytes | None:
        """What stands for an image as it is now, ``KEY_BYTES``, without its content being read; ``None``: nothing does.

        Raises:
            OSError: it is not there.
        """
        if self.source is None:
            return file_key(self.path_array.encoded(index))
        return self.source.key(self._number(index))

    def keys(self) -> Iterator[bytes | None]:
        """:meth:`key` of each image in turn; ``None`` also where it is not there."""
        find: Callable[[Any], bytes | None] = file_key if self.source is None else self.source.key
        numbers = range(len(self)) if self.numbers is None else self.numbers
        for one in self.path_array.iter_encoded() if self.source is None else numbers:
            try:
                yield find(one)
            except OSError:
                yield None

    def _number(self, index: int) -> int:
        return index if self.numbers is None else self.numbers[index]

    def count(self, indices: Sequence[int] | None = None) -> list[int]:
        """How many images each class has, of all or of those at some indices."""
        labels = np.asarray(self.labels)
        chosen = labels if indices is None else labels[np.asarray(indices, dtype=np.int64)]
        counts: list[int] = np.bincount(chosen, minlength=len(self.classes)).tolist()
        return counts

    def in_part(self, name: str) -> IntArray:
        """The indices of the images of one of :data:`PARTS`; none where the data set does not bring it.

        >>> ImageSet(Path("r"), ("cat",), (Path("r/1.png"), Path("r/2.png")), (0, 0), part=(0, 2)).in_part("test")
        IntArray([1])
        """
        return (
            IntArray([]) if self.part is None else IntArray(np.flatnonzero(np.asarray(self.part) == PARTS.index(name)))
        )

    def find(self, path: Path) -> int | None:
        """The index of a file, whichever way its folder is written; ``None`` if it is none of these images.

        Only files of the same name are looked at: to resolve the links of a million paths takes half a minute.

        >>> ImageSet(Path("r"), ("cat",), (Path("r/cat/1.png"),), (0,)).find(Path("r/dog/../cat/1.png"))
        0
        """
        names = dict.fromkeys((path.name, path.resolve().name))
        indices = [index for name in names for index in self.path_array.named(name)]
        return next((index for index in indices if self.paths[index].resolve() == path.resolve()), None)

    def select_classes(self, wanted: int | Sequence[str | int]) -> ImageSet:
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
            chosen = sorted(resolve_label(label, self.classes, "dataset.classes") for label in labels_as_text(wanted))
            if len(set(chosen)) != len(chosen) or len(chosen) < 2:
                raise UserError(f"dataset.classes={list(wanted)} must name at least two classes, each once")
        new = np.full(len(self.classes), -1)
        new[chosen] = np.arange(len(chosen))
        labels = new[np.asarray(self.labels)]
        return replace(
            self.take(IntArray(np.flatnonzero(labels >= 0))),
            classes=tuple(self.classes[old] for old in chosen),
            labels=IntArray(labels[labels >= 0]),
        )

    def require_classes(self) -> None:
        """Make sure that there is something to tell apart.

        Raises:
            UserError: a class without images, fewer than two classes, or images without any.
        """
        if self.classes == UNLABELLED:
            raise UserError(f"{self.given}: nothing says what the images show, and only predict takes such ones")
        empty = [name for name, count in zip(self.classes, self.count(), strict=True) if not count]
        if empty:
            raise UserError(
                f"{self.given}: no image of the class{'es' * (len(empty) > 1)} "
                f"{', '.join(empty[:5])}{' …' * (len(empty) > 5)}: "
                "remove it, or name the classes to use with dataset.classes=[…]"
            )
        if len(self.classes) < 2:
            raise UserError(f"{self.given} holds one class only ({self.classes[0]}): at least two are needed")

    def take(self, indices: Sequence[int]) -> ImageSet:
        """The images at those indices, with all the classes."""
        chosen = np.asarray(indices, dtype=np.int64)
        part = None if self.part is None else IntArray(np.asarray(self.part)[chosen])
        labels = IntArray(np.asarray(self.labels)[chosen])
        numbers = None
        if self.source is not None:
            numbers = IntArray(chosen if self.numbers is None else np.asarray(self.numbers)[chosen])
        return replace(self, paths=self.path_array.take(indices), labels=labels, part=part, numbers=numbers)
