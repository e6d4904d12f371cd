"""COCO JSON (Lin et al., *Microsoft COCO*, ECCV 2014; https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from camexp.cam.boxes import Part
from camexp.files import atomic_write
from camexp.prediction.annotations.format import Format
from camexp.prediction.annotations.objects import AnnotatedImage, WeakLabel


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """COCO's uncompressed RLE: how many pixels are 0, then 1, then 0 …, down column after column.

    Args:
        mask: ``(H, W)``.

    >>> run_lengths(np.array([[True, False], [True, True]]))
    [0, 2, 1, 1]
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=pixels.size).tolist()
    return [0, *counts] if pixels[0] else counts


def part_run_lengths(part: Part, size: tuple[int, int]) -> list[int]:
    """The same for a part of an image of ``size`` (H, W); only its own columns are looked at.

    >>> part_run_lengths(Part((1, 0, 2, 0), np.ones((1, 2), bool), 2), (2, 4))
    [2, 1, 1, 1, 3]
    """
    (x0, y0, x1, y1), mask, _ = part
    height, width = size
    columns = np.zeros((height, x1 + 1 - x0), bool)
    columns[y0 : y1 + 1] = mask
    counts = run_lengths(columns)
    counts[0] += x0 * height
    if after := (width - 1 - x1) * height:
        counts += [0] * (1 - len(counts) % 2)  # the last run is one of zeros
        counts[-1] += after
    return counts


def coco_annotation(one: WeakLabel, size: tuple[int, int]) -> dict[str, Any]:
    """One object, without its id and its image's.

    Args:
        size: ``(H, W)`` of the image.

    >>> part = Part((1, 0, 2, 1), np.ones((2, 2), bool), 4)
    >>> coco_annotation(WeakLabel(0, 0.5, part), (2, 4))["bbox"]
    [1, 0, 2, 2]
    """
    x0, y0, x1, y1 = one.part.box
    return {
        "category_id": one.label + 1,
        "bbox": [x0, y0, x1 + 1 - x0, y1 + 1 - y0],
        "area": one.part.area,
        "segmentation": {"size": list(size), "counts": part_run_lengths(one.part, size)},
        "iscrowd": 0,
        "score": round(one.score, 6),
    }


class CocoFormat(Format):
    """``instances.json``. Its arrays grow on the disk, so that memory does not, and are joined at the end."""

    files = None

    def begin(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._images, self._annotations = _Array(self.folder), _Array(self.folder)

    def write(self, image: AnnotatedImage) -> Any:
        height, width = image.size
        entry = {"file_name": image.name, "width": width, "height": height}
        return entry, [coco_annotation(one, image.size) for one in image.objects]

    def append(self, written: Any) -> None:
        entry, annotations = written
        self._images.append({"id": self._images.count + 1, **entry})
        for one in annotations:
            self._annotations.append({"id": self._annotations.count + 1, "image_id": self._images.count, **one})

    def close(self) -> None:
        categories = [{"id": label + 1, "name": name, "supercategory": ""} for label, name in enumerate(self.classes)]
        with atomic_write(self.folder / "instances.json") as temporary, temporary.open("wb") as file:
            file.write(b'{"info": ' + _encoded({"description": self.about}) + b', "licenses": [],\n"images": ')
            self._images.move_to(file)
            file.write(b',\n"annotations": ')
            self._annotations.move_to(file)
            file.write(b',\n"categories": ' + _encoded(categories) + b"}\n")


class _Array:
    """A JSON array in a nameless file: whatever ends the process, nothing of it is left."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - move_to closes it

    def append(self, entry: dict[str, Any]) -> None:
        self._file.write((b",\n" if self.count else b"[\n") + _encoded(entry))
        self.count += 1

    def move_to(self, file: IO[bytes]) -> None:
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)
        file.write(b"\n]" if self.count else b"[]")
        self._file.close()


def _encoded(content: Any) -> bytes:
    # in ASCII: a file name that is not valid UTF-8 is still valid JSON
    return json.dumps(content, allow_nan=False).encode()
