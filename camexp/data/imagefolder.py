"""A folder of classes: one sub-folder a class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.imageset import ImageSet
from camexp.errors import UserError
from camexp.images import image_extensions
from camexp.run_files import HYDRA


def find_imagefolder(root: str | None, extensions: Sequence[str] | None = None) -> ImageSet:
    """Every image below every sub-folder of ``root``; the sub-folder's name is the class.

    Args:
        root: the folder of classes.
        extensions: the endings that count, with or without dot; default: all that Pillow reads.

    Raises:
        UserError: no such folder, or no image in it.
    """
    folder = require_folder(root)
    endings = resolve_extensions(extensions)
    return collect_images(folder, class_folders(folder), str, has_extension(endings))


def require_folder(root: str | None, expected: str = "a folder with one sub-folder a class") -> Path:
    """``dataset.root`` as a path that exists."""
    if not root:
        raise UserError(f"dataset.root is not given: add dataset.root=DIR, {expected}")
    folder = Path(root).expanduser()
    if not folder.is_dir():
        came = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"dataset.root={root} {came}: expected {expected}")
    return folder


def resolve_extensions(extensions: Sequence[str] | None) -> frozenset[str]:
    """``dataset.extensions`` in lower case with a dot."""
    if extensions is None:
        return image_extensions()
    if isinstance(extensions, str):
        extensions = [extensions]
    endings = frozenset("." + str(ending).lower().lstrip(".") for ending in extensions)
    unknown = endings - image_extensions()
    if unknown or not endings:
        raise UserError(f"dataset.extensions={list(extensions)} holds what Pillow cannot read: {sorted(unknown)}")
    return endings


def has_extension(endings: frozenset[str]) -> Callable[[str, str], bool]:
    """Whether the file of a folder and a name has one of these endings.

    >>> has_extension(frozenset({".png"}))("duck", "1.PNG")
    True
    """
    return lambda folder, name: os.path.splitext(name)[1].lower() in endings


def class_folders(folder: Path) -> list[Path]:
    """The sub-folders, sorted by name; hidden ones are no classes."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def collect_images(
    root: Path,
    folders: Sequence[Path],
    class_name: Callable[[str], str],
    is_image: Callable[[str, str], bool],
) -> ImageSet:
    """The image set of these class folders; which files are images their folders and names tell.

    Raises:
        UserError: see :func:`find_imagefolder`.
    """
    parts: list[PathArray] = []
    left_out = 0
    for folder in folders:
        images, others = image_files(folder, is_image)
        parts.append(images)
        left_out += others
    paths = PathArray.joining(parts)
    if not paths:
        raise UserError(f"dataset.root={root} holds no image: expected one sub-folder a class with images in it")
    classes = tuple(class_name(folder.name) for folder in folders)
    labels = IntArray(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    return ImageSet(root, classes, paths, labels, left_out)


def image_files(folder: Path, is_image: Callable[[str, str], bool]) -> tuple[PathArray, int]:
    """The images below a folder, as :func:`walk` finds them, and how many files are none.

    Args:
        folder: where.
        is_image: whether the file of a folder and a name is one, see :func:`has_extension`.
    """
    found = 0
    images: list[bytes] = []
    for current, names in _walk(folder):  # no Path for each of a million: that alone took half a minute
        below = os.path.join(os.fsencode(current), b"")
        images += [below + os.fsencode(name) for name in names if is_image(current, name)]
        found += len(names)
    return PathArray.of_bytes(images), found - len(images)


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted, links followed, a loop of links entered once."""
    return (Path(current, name) for current, names in _walk(folder) for name in names)


def _walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files; not those in which a run has left its results, pictures among them."""
    seen: set[str] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in seen or (HYDRA in folders and seen):  # whose own folder is asked for wants to see it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield current, sorted(name for name in files if not name.startswith("."))
