"""Boxes and masks of an image set."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from camexp.data.box_formats import Boxes, clip, match, read_boxes, read_sizes, upright
from camexp.data.imageset import ImageSet
from camexp.errors import UserError, reason
from camexp.evaluation.file_names import FileNames
from camexp.files import file_stamp
from camexp.images import UnreadableImage, read_mask, stored_frame

log = logging.getLogger(__name__)

MaskOf = Callable[[Path], tuple[np.ndarray, np.ndarray | None] | None]


@dataclass
class GroundTruth:
    """What is known of where the objects are.

    Attributes:
        images: the image set.
        boxes: index → ``(G, 4)`` in pixels of the file.
        sizes: index → the width and height of the picture in which its boxes were drawn, where that is not the file.
        mask_of: an image's path → its mask and what of it to ignore, ``(H, W)`` bool, or ``None``.
        masked: the indices that have a mask.
        mask_files: of these, the files that were found for the images.
    """

    images: ImageSet
    boxes: dict[int, Boxes] = field(default_factory=dict)
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    mask_of: MaskOf | None = None
    masked: frozenset[int] = frozenset()
    mask_files: dict[int, Path] = field(default_factory=dict)

    def __contains__(self, index: int) -> bool:
        return index in self.boxes or index in self.masked

    def scaled_boxes(self, index: int, size: tuple[int, int] | None) -> tuple[Boxes | None, tuple[int, int]]:
        """An image's boxes at ``(H, W)``, or at its own size; and that size."""
        if index not in self.boxes:
            return None, size or (1, 1)
        width, height = self.images.size(index)
        drawn_width, drawn_height = self.sizes.get(index, (width, height))
        boxes = clip(self.boxes[index], drawn_width, drawn_height, str(self.images.paths[index]))
        if index in self.sizes and self.images.source is None:
            stored, orientation = stored_frame(self.images.paths[index])
            if stored == (drawn_width, drawn_height):  # they were drawn in the image as the file has it
                boxes = upright(boxes, stored, orientation)
                drawn_width, drawn_height = width, height
        size = size or (height, width)
        if size == (drawn_height, drawn_width):
            return boxes, size
        # the reference evaluator's rounding: down, each corner by itself, multiplied before it is divided
        scaled = boxes * np.array([size[1], size[0]] * 2) / np.array([drawn_width, drawn_height] * 2)
        return np.floor(scaled).clip(0, np.array([size[1], size[0]] * 2) - 1), size

    def digests(self) -> dict[str, str]:
        """What stands for labels, boxes and masks, 32 hexadecimal digits each, so far as there are any. Files of masks
        are not read, and of those that the data set brings it is only known which images have one."""
        labels, boxes, masks = (hashlib.blake2b(digest_size=16) for _ in range(3))
        labels.update(np.asarray(self.images.labels).tobytes())
        for index, each in sorted(self.boxes.items()):
            boxes.update(f"{index} {self.sizes.get(index)} {each.tolist()}\n".encode())
        for index in sorted(self.masked):
            masks.update(f"{index} ".encode() + (file_stamp(self.mask_files[index]) if self.mask_files else b""))
        found = {"the labels": (labels, True), "the boxes": (boxes, self.boxes), "the masks": (masks, self.masked)}
        return {name: digest.hexdigest() for name, (digest, there) in found.items() if there}

    def masks(self, index: int) -> tuple[Tensor | None, Tensor | None]:
        """An image's mask and what of it to ignore, as tensors ``(H, W)``."""
        if self.mask_of is None or index not in self.masked:
            return None, None
        found = self.mask_of(self.images.paths[index])
        if found is None:
            return None, None
        mask, ignore = found
        return torch.from_numpy(mask), None if ignore is None else torch.from_numpy(ignore)


def dataset_truth(images: ImageSet) -> GroundTruth:
    """What the data set brings itself."""
    truth = GroundTruth(images)
    if images.boxes is not None:
        found = ((index, images.boxes(path)) for index, path in enumerate(images.paths))
        truth.boxes = {index: boxes for index, boxes in found if boxes is not None}
    if images.mask is not None:
        has_mask = images.masked or (lambda path: True)
        truth.mask_of = partial(_own_mask, images)
        truth.masked = frozenset(index for index, path in enumerate(images.paths) if has_mask(path))
    return truth


def _own_mask(images: ImageSet, path: Path) -> tuple[np.ndarray, np.ndarray | None] | None:
    mask = images.mask(path) if images.mask is not None else None
    ignore = images.ignore(path) if images.ignore is not None else None
    return None if mask is None else (mask.copy(), ignore)


def load_truth(boxes: str | None, masks: str | None, images: ImageSet) -> GroundTruth:
    """Boxes and masks from files.

    Raises:
        UserError: a source that cannot be read, or that has nothing of these images.
    """
    truth = GroundTruth(images)
    if boxes is not None:
        found = read_boxes(boxes)
        matched = match(list(found), images.paths, images.root, images.among)
        if not matched:
            raise UserError(
                f"boxes={boxes}: none of its {len(found)} images (the first is {next(iter(found))}) "
                f"is among the {len(images)} in {images.root}, by its path there or by a name that one image alone has"
            )
        truth.boxes = {index: found[name] for index, name in matched.items()}
        sizes = read_sizes(boxes)
        truth.sizes = {index: sizes[name] for index, name in matched.items() if name in sizes}
        left = f"; {len(found) - len(matched)} of other images left out" if len(found) > len(matched) else ""
        log.info(f"boxes of {len(matched)} images{left}")
    if masks is not None:
        folder = Path(masks).expanduser()
        if not folder.is_dir():
            raise UserError(f"masks={masks} is not a folder: expected PATH/IMAGE.png for the images PATH/IMAGE.jpg")
        names = FileNames(images.paths if images.among is None else images.among, images.root)
        files = {index: file for index, path in enumerate(images.paths) if (file := names.find(path, folder, [".png"]))}
        if not files:
            raise UserError(f"masks={masks} holds no mask of these images: expected PATH/IMAGE.png below it")
        by_path = {images.paths[index]: (file, index) for index, file in files.items()}
        truth.masked, truth.mask_files = frozenset(files), files
        truth.mask_of = lambda path: _read_masks(images, *by_path[path])
        log.info(f"masks of {len(files)} images")
    return truth


def _read_masks(images: ImageSet, file: Path, index: int) -> tuple[np.ndarray, np.ndarray | None]:
    size = images.size(index)
    ignore = file.with_name(f"{file.stem}_ignore.png")
    mask = _read_mask(file, size)
    return mask, _read_mask(ignore, size) if ignore.is_file() else None


def _read_mask(file: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        pixels = read_mask(file)
    except UnreadableImage as error:
        raise UserError(f"masks: {file} cannot be decoded ({reason(error)})") from error
    if pixels.shape[::-1] != size:
        width, height = pixels.shape[::-1]
        raise UserError(
            f"masks: {file} is {width}×{height} and its image {size[0]}×{size[1]} pixels: expected one size"
        )
    return pixels
