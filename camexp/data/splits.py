"""Training and validation images, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from camexp.config import SplitOptions
from camexp.data.arrays import IntArray
from camexp.data.imageset import ImageSet
from camexp.errors import UserError


@dataclass(frozen=True)
class Split:
    """Indices in an image set: training and validation images, as :class:`IntArray`.

    >>> Split((0, 2), (1,)) == Split([0, 2], [1])
    True
    """

    train: Sequence[int]
    val: Sequence[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", IntArray(self.train))
        object.__setattr__(self, "val", IntArray(self.val))


def split_images(images: ImageSet, options: SplitOptions, seed: int) -> Split:
    """Stratified and seeded: each class is shuffled by itself, so that what one class holds does not
    move the images of another.

    A data set that brings its own training and validation images is split as it says. If it brings training images and
    no validation images, the training images are split; images to test on are in neither part.

    Args:
        images: the data set.
        options: everything for both, or a number of each class to train on, or a share of each to validate on.
        seed: the same seed gives the same split.

    Raises:
        UserError: an option out of range, or a class with too few images.
    """
    if images.part is None:
        pool = IntArray(np.arange(len(images)))
    else:
        pool = images.in_part("train")
        bare = [name for name, count in zip(images.classes, images.count(pool), strict=True) if not count]
        if bare:
            raise UserError(
                f"{images.given}: the data set's own lists have no training image of the class {bare[0]}"
                f"{f' and {len(bare) - 1} more' * (len(bare) > 1)}: complete them, or leave the class out with "
                "dataset.classes=[…]"
            )
        if own := images.in_part("val"):
            return Split(pool, own)
    if options.all:
        return Split(pool, pool)
    per_class, fraction = options.train_per_class, options.val_fraction
    counts = images.count(pool)
    of_pool = np.asarray(pool)[np.argsort(np.asarray(images.labels)[np.asarray(pool)], kind="stable")]
    by_class = np.split(of_pool, np.cumsum(counts)[:-1])
    train, val = [], []
    for label, (name, indices) in enumerate(zip(images.classes, by_class, strict=True)):
        smallest = 2 if per_class is None else per_class + 1
        if len(indices) < smallest:
            option = "split.val_fraction" if per_class is None else f"split.train_per_class={per_class}"
            raise UserError(
                f"{option}: the class {name} has {len(indices)} image{'s' * (len(indices) != 1)}, "
                f"at least {smallest} are needed: take a smaller number, split=all, or leave the class out"
            )
        indices = np.random.default_rng([seed, label]).permutation(indices)
        held_out = len(indices) - per_class if per_class is not None else round(len(indices) * (fraction or 0))
        held_out = min(max(held_out, 1), len(indices) - 1)
        val.append(indices[:held_out])
        train.append(indices[held_out:])
    return Split(IntArray(np.sort(np.concatenate(train))), IntArray(np.sort(np.concatenate(val))))


def class_table(images: ImageSet, split: Split) -> list[tuple[int, str, int, int]]:
    """Label, name and number of training and validation images of each class."""
    train, val = images.count(split.train), images.count(split.val)
    return [(label, name, train[label], val[label]) for label, name in enumerate(images.classes)]
