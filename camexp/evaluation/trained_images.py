"""Which images a network was trained on and validated on, so far as its checkpoint says."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.config import SplitOptions
from camexp.data import ImageSet, split_images
from camexp.data.arrays import IntArray
from camexp.data.names import name_hashes
from camexp.errors import UserError, reason
from camexp.models.checkpoint import read_image_names
from camexp.run_files import SPLITS

log = logging.getLogger(__name__)


def part_indices(
    images: ImageSet, part: str, trained: Mapping[str, Any], ckpt: str | Path | None = None
) -> Sequence[int]:
    """The images of a part: as the data set itself says, else those that the training run had in it, by their names.

    Args:
        images: the data set, or what is there of it.
        part: ``train``, ``val`` or ``test``.
        trained: the configuration of the run. Checkpoints that name no images are of earlier versions: their split is
            drawn again, which gives theirs only if the images are the same.
        ckpt: its checkpoint.

    Raises:
        UserError: no such part, or nothing that says which images are in it.
    """
    own = images.in_part(part)
    if part == "test" or len(images.in_part("val")):
        if not own:
            raise UserError(
                f"part={part}: the data set in {images.root} names no such images of its own: take "
                f"part={'val' if part == 'test' else 'all'}"
            )
        return own
    if "split" not in trained:
        raise UserError(f"part={part} needs a checkpoint that knows its split: take part=all")
    names = read_image_names(ckpt)
    return _drawn_again(images, part, trained) if names is None else _named(images, part, names)


def _named(images: ImageSet, part: str, names: Mapping[str, NDArray[np.int64]]) -> Sequence[int]:
    hashes = name_hashes(images, range(len(images)))
    found = np.flatnonzero(np.isin(hashes, names[part]))
    kind = {"train": "training", "val": "validation"}[part]
    if not len(found):
        raise UserError(
            f"part={part}: none of the {len(images)} images in {images.root} is called as one of the run's "
            f"{len(names[part])} {kind} images: take part=all"
        )
    if missing := len(names[part]) - len(found):
        log.warning(f"{missing} of the run's {len(names[part])} {kind} images are not among these")
    known = np.concatenate([names["train"], names["val"]])
    if strange := int((~np.isin(hashes, known)).sum()):
        log.warning(f"{strange} images were in no part of the training run and are left out; part=all takes all")
    return IntArray(found)


def _drawn_again(images: ImageSet, part: str, trained: Mapping[str, Any]) -> Sequence[int]:
    try:
        # each key, so that no default stands in for what a checkpoint does not say
        recorded = {key: trained["split"][key] for key in SplitOptions.model_fields}
        split = split_images(images, SplitOptions.read(recorded, "split"), trained["seed"])
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"ckpt: its split cannot be read ({reason(error)}): take part=all") from error
    log.warning(
        f"part={part}: the checkpoint does not name its images, its split is drawn again: it is the run's own only if "
        "the data set and its classes are the same as then"
    )
    return split.train if part == "train" else split.val


def trained_on(ckpt: str | Path | None, images: ImageSet) -> int | None:
    """How many of the images are called as such that the network was trained on; ``None``: not known.

    An earlier version's checkpoint is asked by the list of its run, by the files' whole paths.
    """
    names = read_image_names(ckpt)
    if names is not None:
        return int(np.isin(name_hashes(images, range(len(images))), names["train"]).sum())
    if ckpt is None:
        return None
    listed = Path(str(ckpt)).expanduser().resolve().parent.parent / SPLITS / "train.csv"
    try:
        with listed.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            trained = {str(Path(row["path"]).resolve()) for row in csv.DictReader(file)}
    except (OSError, KeyError):
        return None
    return sum(str(path.resolve()) in trained for path in images.paths)
