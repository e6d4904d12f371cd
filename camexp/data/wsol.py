"""The lists of wsolevaluation: which images train, choose hyperparameters and test, with boxes or masks.

Choe et al., *Evaluating Weakly Supervised Object Localization Methods Right*, CVPR 2020, and TPAMI 2022:
train-weaksup is the folder ``train``, train-fullsup ``val``, and the test images ``test``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.box_formats import upright
from camexp.data.imagefolder import require_folder
from camexp.data.imageset import PARTS, ImageSet
from camexp.data.listed import ListedBoxes, ListedMasks
from camexp.data.wsol_lists import Lists, metadata_folder, read_part
from camexp.errors import UserError
from camexp.images import stored_frame
from camexp.reporting.progress import Progress


def find_wsol(root: str | None, metadata: str | None, masks: str | None = None, proxy: bool = False) -> ImageSet:
    """The images that wsolevaluation's lists name, with their parts, boxes and masks.

    A class is called as the one folder that holds its training images and no other's, else by its number.

    Args:
        root: the folder that the images' paths begin in (``dataset/CUB`` there).
        metadata: the folder of the lists of one data set: ``train``, ``val`` and ``test``, or the papers'
            ``train-weaksup`` and ``train-fullsup``; each with ``image_ids.txt``, ``class_labels.txt``
            (``image,label``), and where objects are known ``localization.txt`` (``image,x0,y0,x1,y1`` or
            ``image,mask,ignore``) and ``image_sizes.txt`` (``image,width,height``).
        masks: the folder that the masks' paths begin in; ``None``: ``root``.
        proxy: train on the images of ``image_ids_proxy.txt`` only.

    Raises:
        UserError: a list, an image or a mask that is absent, lists that do not fit together, a label out of range, or
            an image of another size than listed.
    """
    folder = require_folder(root, "the folder in which the paths of image_ids.txt begin")
    lists = {part: found for part in PARTS if (found := read_part(metadata_folder(metadata), part, proxy)) is not None}
    labels, count = _labels(lists)
    ids = {part: one.ids for part, one in lists.items()}
    _require_disjoint(ids)
    mask_folder = folder if masks is None else Path(masks).expanduser()
    _require_files(folder, [name for each in ids.values() for name in each], "dataset.root")
    for one in lists.values():
        needed = chain(chain.from_iterable(one.masks.values()), one.ignore.values())
        _require_files(mask_folder, needed, "dataset.masks" if masks else "dataset.root")
    turned = _require_sizes(folder, {name: size for one in lists.values() for name, size in one.sizes.items()})
    boxes = {
        str(folder / name): upright(value, *turned[name]) if name in turned else value
        for one in lists.values() for name, value in one.boxes.items()
    }  # fmt: skip
    files = {str(folder / name): [mask_folder / file for file in found]
             for one in lists.values() for name, found in one.masks.items()}  # fmt: skip
    ignore = {str(folder / name): mask_folder / file for one in lists.values() for name, file in one.ignore.items()}
    listed = ListedMasks(files, ignore)
    return ImageSet(
        folder,
        _class_names(lists, count),
        PathArray.of_bytes(os.fsencode(os.path.join(folder, name)) for each in ids.values() for name in each),
        labels,
        mask=listed.mask if files else None,
        part=IntArray(np.repeat([PARTS.index(part) for part in ids], [len(each) for each in ids.values()])),
        ignore=listed.ignored if files else None,
        boxes=ListedBoxes(boxes) if boxes else None,
        masked=listed.has if files else None,
    )


def _labels(lists: Mapping[str, Lists]) -> tuple[IntArray, int]:
    """The label of each image, and how many classes there are: as many as the training images have."""
    known = lists.get("train")
    seen = set(known.labels.values()) if known else set().union(*(set(one.labels.values()) for one in lists.values()))
    count = max(seen) + 1
    if known and len(seen) < count:
        absent = min(set(range(count)) - seen)
        raise UserError(
            f"dataset.metadata: {known.folder / 'class_labels.txt'} has labels up to {count - 1} and no image of "
            f"{absent}: expected each whole number from 0"
        )
    for one in lists.values():
        if wrong := next((name for name in one.ids if one.labels[name] >= count), None):
            raise UserError(
                f"dataset.metadata: the label {one.labels[wrong]} of {wrong} in {one.folder / 'class_labels.txt'} is "
                f"out of range: the training images have 0 to {count - 1}"
            )
    return IntArray([one.labels[name] for one in lists.values() for name in one.ids]), count


def _class_names(lists: Mapping[str, Lists], count: int) -> tuple[str, ...]:
    """Each class by the folder that its images alone lie in, of the training images if there are any."""
    first = next(iter(lists.values()))
    folders: list[set[str]] = [set() for _ in range(count)]
    for name, label in first.labels.items():
        folders[label].add(name.rpartition("/")[0])
    names = tuple(found.pop().rpartition("/")[2] if len(found) == 1 else "" for found in map(set, folders))
    return names if len(set(names)) == count and all(names) else tuple(map(str, range(count)))


def _require_disjoint(ids: Mapping[str, list[str]]) -> None:
    seen: dict[str, str] = {}
    for part, names in ids.items():
        for name in names:
            if (other := seen.setdefault(name, part)) != part:
                raise UserError(
                    f"dataset.metadata: {name} is among the {other} and the {part} images: expected parts without a "
                    "common image"
                )


def _require_files(folder: Path, names: Iterable[str], option: str) -> None:
    absent = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
    if absent:
        raise UserError(
            f"{option}={folder} lacks {len(absent)} file{'s' * (len(absent) > 1)} that the lists name (the first is "
            f"{absent[0]}): give the folder in which {absent[0]} lies, or complete it"
        )


def _require_sizes(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> dict[str, tuple[tuple[int, int], int]]:
    """Boxes of images of another size would be measured wrong.

    Returns:
        Of images that are shown turned, while their listed size is the stored one: that, and the EXIF tag. The lists'
        own evaluator reads no EXIF, so that boxes were drawn in the stored image.
    """
    turned: dict[str, tuple[tuple[int, int], int]] = {}
    if not sizes:
        return turned

    def actual(name: str) -> tuple[tuple[int, int], int] | None:
        try:
            return stored_frame(folder / name)
        except Exception:  # dataset.check tells of what cannot be decoded
            return None

    with ThreadPoolExecutor() as pool, Progress("reading image sizes", total=len(sizes), unit="images") as progress:
        for (name, listed), found in zip(sizes.items(), pool.map(actual, sizes), strict=True):
            if found is not None:
                stored, orientation = found
                if listed == stored and orientation > 1:
                    turned[name] = found
                elif listed != stored and not (orientation >= 5 and listed == stored[::-1]):
                    raise UserError(
                        f"dataset.metadata: image_sizes.txt says {listed[0]}×{listed[1]} of {name}, which has "
                        f"{stored[0]}×{stored[1]} pixels: take the images in which the boxes were drawn, or correct it"
                    )
            progress.advance(1)
    return turned
