"""What a table of images says of itself: which column holds images and which classes, which splits are parts."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.imageset import PARTS, UNLABELLED, ImageSet
from camexp.data.source import ImageSource
from camexp.errors import UserError, nearest

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "validation": "val", "valid": "val", "val": "val", "dev": "val", "test": "test"}


def choose_splits(found: Mapping[str, Any], path: str, splits: str | Sequence[str] | None) -> dict[str, Any]:
    """The splits to use, those to train on first."""
    splits = [splits] if isinstance(splits, str) else splits
    for split in splits or ():
        if split not in found:
            raise UserError(f"dataset.splits={list(splits or ())}: {path} has no {split}: {nearest(split, found)}")
    chosen = list(splits or (found if len(found) == 1 else [split for split in found if split in SPLITS]))
    if len(chosen) > 1 and (odd := [split for split in chosen if split not in SPLITS]):
        raise UserError(f"dataset.splits={chosen}: {odd[0]} is no part: expected one alone, or of {', '.join(SPLITS)}")
    if not chosen:
        raise UserError(f"dataset.path={path} has the splits {', '.join(found)}: choose one with dataset.splits=[…]")
    if left := [split for split in found if split not in chosen]:
        log.info(f"splits left out: {', '.join(left)}")
    return {split: found[split] for split in sorted(chosen, key=lambda one: PARTS.index(SPLITS.get(one, "train")))}


def find_image_column(datasets: Any, features: Mapping[str, Any], given: str | None) -> str:
    """The column that is given, or else the only one with images."""
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    return _column(features, "image", given, columns)


def find_label_column(datasets: Any, features: Mapping[str, Any], given: str | None, image: str) -> str | None:
    """The column that is given, or else the only one with classes; ``image`` is the images' own; ``None``: there is
    none, as ``none`` says."""
    if given == "none" and given not in features:
        return None
    columns = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    columns = columns or [name for name in ("label", "labels", "class") if name in features]
    found = _column(features, "label", given, columns)
    if found == image:
        raise UserError(f"dataset.label_column={found} is the column of the images: choose another")
    return found


def _column(features: Mapping[str, Any], kind: str, given: str | None, candidates: Sequence[str]) -> str:
    names = list(features)
    if given is not None and given not in names:
        raise UserError(f"dataset.{kind}_column={given} is no column of the table: {nearest(given, names)}")
    if given is None and len(candidates) != 1:
        came = f"may be {' or '.join(candidates)}" if candidates else f"is none of {', '.join(names)} by itself"
        raise UserError(f"dataset.{kind}_column is not given, and {came}: add dataset.{kind}_column=NAME")
    return given or candidates[0]


def read_labels(
    values: Sequence[Any], column: str | None, names: Sequence[str] | None
) -> tuple[IntArray, tuple[str, ...]]:
    """Labels and classes of what a column holds.

    Args:
        values: of that column.
        column: its name; ``None``: there is none, and only their number counts.
        names: of the classes, where the table says them.

    Raises:
        UserError: what cannot be a class.
    """
    if column is None:
        return IntArray(np.zeros(len(values), np.int64)), UNLABELLED
    kinds = {type(value) for value in values}
    if kinds - {int, bool} and kinds - {str}:
        odd = next((value for value in values if type(value) not in (int, bool, str)), None)
        came = f"{odd!r:.60}, a {type(odd).__name__}" if kinds - {int, bool, str} else "both numbers and texts"
        raise UserError(
            f"dataset.label_column={column} holds {came}: expected one class an image, a whole number or a text"
        )
    if names is None:
        known = sorted(set(values))
        index = {value: number for number, value in enumerate(known)}
        return IntArray([index[value] for value in values]), tuple(map(str, known))
    if wrong := next((value for value in values if not 0 <= value < len(names)), None):
        raise UserError(
            f"dataset.label_column={column} holds {wrong}, which is none of its {len(names)} classes (-1 says that a "
            "label is withheld): leave that split out with dataset.splits=[train,validation]"
        )
    return IntArray(values), tuple(names)


def as_image_set(
    path: str, counts: Mapping[str, int], names: Sequence[str], labels: IntArray, classes: tuple[str, ...],
    source: ImageSource | None = None,
) -> ImageSet:  # fmt: skip
    """The rows of all splits as an image set.

    Args:
        path: the option's.
        counts: rows of each split.
        names: what the table calls the images; ``""``: nothing.
        labels, classes: see :func:`read_labels`.
        source: what reads the images; ``None``: their names are files.
    """
    root = Path(path).expanduser()
    named = [PARTS.index(SPLITS.get(split, "train")) for split in counts]
    part = IntArray(np.repeat(named, list(counts.values()))) if len(counts) > 1 else None
    paths = PathArray.of(names) if source is None else _virtual_paths(root, counts, names)
    return ImageSet(root, classes, paths, labels, part=part, source=source, option="dataset.path")


def _virtual_paths(root: Path, counts: Mapping[str, int], names: Sequence[str]) -> PathArray:
    """A path for each row: its own name where all of a split have one, else its number."""
    paths, start = [], 0
    for split, count in counts.items():
        bare = [name.replace("\\", "/").rpartition("/")[2] for name in names[start : start + count]]
        if not all(bare) or len(set(bare)) < count:
            bare = [f"{number:06d}" for number in range(count)]
        paths += [os.fsencode(root / split / name) for name in bare]
        start += count
    return PathArray.of_bytes(paths)
