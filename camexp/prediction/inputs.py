"""Which images to look at, and under which names the results are kept."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from camexp.config import PredictOptions
from camexp.data import ImageSet, build_images
from camexp.data.arrays import IntArray, PathArray
from camexp.data.imagefolder import has_extension, image_files
from camexp.data.imageset import UNLABELLED
from camexp.errors import UserError
from camexp.images import image_extensions

LONGEST_NAME = 120  # bytes; NAME__CLASS.png and the temporary name beside it must stay below 255


def find_inputs(given: str | Sequence[str], option: str = "input", output: Path | None = None) -> PathArray:
    """The image files that ``input=`` names, each once, in its order; folders and globs sorted.

    Args:
        given: a file, a folder (searched with all below it but folders of earlier runs), a glob, or a list of these.
        option: what the user calls it, for the error's sentence.
        output: where the results go, which are no images to look at when the run is resumed.

    Raises:
        UserError: something that does not exist, or no image at all.
    """
    found: list[PathArray] = []
    for one in given if isinstance(given, list) else [given]:
        if one is None or not str(one):
            raise UserError(f"{option}= is empty: give an image, a folder of images, a glob, or a list")
        path = Path(str(one)).expanduser()
        if path.is_dir():
            inside = _without(image_files(path, has_extension(image_extensions()))[0], path, output, f"{option}={one}")
            if not inside:
                raise UserError(
                    f"{option}={one} is a folder without images: give an image, a folder of images or a glob"
                )
            found.append(inside)
        elif path.is_file():
            found.append(PathArray.of([path]))
        elif glob.has_magic(str(one)):
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
            matches = [match for match in matches if match.is_file() and not _is_below(match, output)]
            if not matches:
                raise UserError(f"{option}={one} matches no file: is the pattern right, and quoted in the shell?")
            found.append(PathArray.of(matches))
        elif path.exists():
            raise UserError(f"{option}={one} is no regular file: give an image, a folder of images, a glob, or a list")
        else:
            raise UserError(f"{option}={one} does not exist: give an image, a folder of images, a glob, or a list")
    if not found:
        raise UserError(f"{option}=[] names no image: give an image, a folder of images, a glob, or a list")
    if len(found) == 1:
        return found[0]
    return PathArray.of_bytes(dict.fromkeys(PathArray.joining(found).iter_encoded()))


def _is_below(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.resolve().is_relative_to(folder.resolve())


def _without(paths: PathArray, folder: Path, output: Path | None, given: str) -> PathArray:
    """Of the images in a folder those that are not in the folder of the results."""
    if output is None or not _is_below(output, folder):
        return paths
    below = output.resolve().relative_to(folder.resolve())
    if below == Path():
        raise UserError(
            f"output={output} is {given}: a next run would take its pictures for images: give another folder"
        )
    start = os.path.join(os.fsencode(folder), os.fsencode(below), b"")
    return PathArray.of_bytes(path for path in paths.iter_encoded() if not path.startswith(start))


def find_images(options: PredictOptions) -> ImageSet:
    """What is to be predicted: the files that ``input`` names, whose classes nobody knows, or a data set's images.

    Raises:
        UserError: see :func:`find_inputs`; or a data set without that part.
    """
    if options.dataset is None:
        paths = find_inputs(options.input, output=Path(options.output))
        return ImageSet(
            Path(os.path.commonpath([path.absolute().parent for path in paths])), UNLABELLED, paths, [0] * len(paths)
        )
    # what cannot be decoded is skipped when its turn comes, and listed with its reason
    images = build_images(options.dataset.model_copy(update={"check": False}), labelled=False)
    if options.part == "all":
        return images
    if not len(own := images.in_part(options.part)):
        raise UserError(f"part={options.part}: the data set names no such images of its own: take part=all")
    return images.take(own)


def unlabelled(paths: Sequence[Path]) -> ImageSet:
    """Files of which nobody says what they show."""
    return ImageSet(Path(), UNLABELLED, paths, IntArray(np.zeros(len(paths), np.int64)))


def unique_names(paths: Sequence[Path]) -> list[str]:
    """A file name for the results of each image: its stem, and more of its path where that is not enough.

    >>> unique_names([Path("a/x.jpg"), Path("b/x.jpg"), Path("b/y.jpg"), Path("b/y.png")])
    ['a_x', 'b_x', 'y.jpg', 'y.png']
    """
    names = [path.stem for path in paths]
    ways = (lambda path: path.name, lambda path: f"{path.parent.name}_{path.stem}",
            lambda path: "_".join(part for part in path.parts if part not in ("/", "..")))  # fmt: skip
    for way in ways:
        names = _improve(names, [way(path) for path in paths])
    return distinct([file_name(name) for name in names])


def distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where one comes again.

    >>> distinct(["a", "b", "A"])
    ['a', 'b', 'A-2']
    """
    taken: set[str] = set()
    result = []
    for name in names:
        unique, number = name, 2
        while unique.casefold() in taken:  # some file systems know no difference of case
            unique, number = f"{name}-{number}", number + 1
        taken.add(unique.casefold())
        result.append(unique)
    return result


def _improve(names: list[str], longer: list[str]) -> list[str]:
    """Replace the names that occur more than once, where the longer ones tell all of them apart."""
    count = Counter(name.casefold() for name in names)
    groups: dict[str, list[str]] = {}
    for name, other in zip(names, longer, strict=True):
        groups.setdefault(name.casefold(), []).append(other.casefold())
    helped = {name for name, others in groups.items() if count[name] > 1 and len(set(others)) == len(others)}
    return [other if name.casefold() in helped else name for name, other in zip(names, longer, strict=True)]


def file_name(text: str) -> str:
    """A text as a part of a file name: nothing a file system minds, and not too long.

    >>> file_name("a/b: c"), len(file_name("x" * 300))
    ('a_b_ c', 120)
    """
    clean = re.sub(r'[/\\\0-\x1f\x7f:*?"<>|]', "_", text).strip() or "_"
    if len(os.fsencode(clean)) <= LONGEST_NAME:
        return clean
    digest = hashlib.sha256(os.fsencode(clean)).hexdigest()[:10]
    return os.fsencode(clean)[: LONGEST_NAME - 11].decode(errors="ignore") + "_" + digest
