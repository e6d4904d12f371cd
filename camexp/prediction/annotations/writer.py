"""The annotations of all images, in all formats that are asked for."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camexp import __version__
from camexp.config import PredictOptions
from camexp.errors import UserError
from camexp.methods import build_normalisation, describe_maps
from camexp.prediction.annotations.coco import CocoFormat
from camexp.prediction.annotations.format import Format, stem
from camexp.prediction.annotations.masks import MaskFormat
from camexp.prediction.annotations.objects import AnnotatedImage, find_objects
from camexp.prediction.annotations.voc import VocFormat
from camexp.prediction.annotations.yolo import YoloFormat
from camexp.prediction.results import Explanation
from camexp.prediction.thresholds import measured_otherwise, read_thresholds
from camexp.prediction.writer import Records, Rows, Writer, read_lines

log = logging.getLogger(__name__)

ANNOTATIONS = "annotations"
FORMATS: dict[str, type[Format]] = {"coco": CocoFormat, "yolo": YoloFormat, "voc": VocFormat, "masks": MaskFormat}


class Annotations(Writer):
    """Writes the annotations of image after image, in all formats that are asked for.

    In the lists, and in the numbers that COCO gives them, images stand in their order.

    Args:
        folder: where the results of all shards are.
        classes: the class names.
        options: the formats, their threshold, and what becomes an object.
        pool: of the network's head, for the lists' own words.
        paths: all images; empty where nothing but the lists is to be written.

    Attributes:
        images: how many are in the lists; empty: how many of them have no object; objects: of all.

    Raises:
        UserError: images whose files would have one name.
    """

    records = ".annotations.jsonl"

    def __init__(
        self, folder: Path, classes: Sequence[str], options: PredictOptions, pool: str = "gap",
        paths: Sequence[Path] = (),
    ):  # fmt: skip
        self.folder, self.options = folder / ANNOTATIONS, options
        self.images = self.empty = self.objects = 0
        self.threshold = find_threshold(options)
        self.normalisation = build_normalisation(options.cam)
        about = f"Weak labels: {describe_maps(options.cam, pool)}, above {self.threshold:g}, camexp {__version__}"
        self.formats = [FORMATS[name](self.folder / name, classes, about) for name in options.annotations]
        self.names = names_below(paths, options.input) if paths else []
        if paths:
            _require_distinct(self.names, self.formats, options.input)
            _warn_of_other_maps(options)

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        objects, without = find_objects(image, self.threshold, self.options.objects, self.normalisation)
        for why, classes in without.items():
            more = f" and {len(classes) - 5} more" if len(classes) > 5 else ""
            log.warning(f"{image.path} has no annotation of {', '.join(classes[:5])}{more}: the map {why}")
        annotated = AnnotatedImage(self.names[index], image.size, objects)
        written = [one.write(annotated) for one in self.formats]
        return json.dumps([len(objects), written], allow_nan=False).encode() + b"\n"

    def assemble(self, records: Sequence[Records], finished: bool = True) -> Sequence[Path]:
        self.images = self.empty = self.objects = 0
        for line in read_lines(records):
            objects, written = json.loads(line)
            for one, rows in zip(self.formats, written, strict=True):
                if not self.images:
                    one.begin()
                one.append(rows)
            self.images += 1
            self.objects += objects
            self.empty += not objects
        if self.images:
            for one in self.formats:
                one.close()
        return ()

    def summary(self) -> str:
        """What came of it, in a line."""
        empty = f", none in {self.empty} of them" if self.empty else ""
        return f"{self.folder}   ({self.objects} objects in {self.images} images at {self.threshold:g}{empty})"


def require_new(options: PredictOptions) -> None:
    """Two runs' annotations are not mixed, and what somebody may have corrected by hand is not replaced.

    Raises:
        UserError: the output folder has annotations.
    """
    folder = Path(options.output) / ANNOTATIONS
    if options.annotations and folder.exists():
        raise UserError(
            f"output={options.output} holds annotations of an earlier run: "
            f"give another folder, or remove {folder} first"
        )


def find_threshold(options: PredictOptions) -> float:
    """``threshold.value``, or the best one for MaxBoxAcc in the evaluation that ``threshold.from`` names.

    MaxBoxAccV2's is not taken: it counts the best of all parts, and so costs nothing what is annotated besides.

    Raises:
        UserError: no evaluation there, or none of this method.
    """
    if options.threshold.value is not None:
        return options.threshold.value
    method, source = options.cam.method, options.threshold.source
    return read_thresholds(source, [method])[method]["MaxBoxAcc"]


def _warn_of_other_maps(options: PredictOptions) -> None:
    if (source := options.threshold.source) is None:
        return
    cam = {key: value for key, value in options.cam.to_dict().items() if key != "method"}
    if other := measured_otherwise(source, cam):
        log.warning(f"threshold.from={source} was measured with {', '.join(other)}: its threshold may not suit here")


def names_below(paths: Sequence[Path], given: Any) -> list[str]:
    """Each image's path below the input folder; of a list or a glob, below the folder that holds them all.

    >>> names_below([Path("a/b/c.jpg"), Path("a/d.jpg")], "a/*")
    ['b/c.jpg', 'd.jpg']
    """
    whole = [os.path.abspath(path) for path in paths]
    only = given[0] if isinstance(given, list) and len(given) == 1 else given
    folder = Path(str(only)).expanduser()
    root = os.path.abspath(folder) if folder.is_dir() else os.path.commonpath([os.path.dirname(one) for one in whole])
    return [Path(os.path.relpath(one, root)).as_posix() for one in whole]


def _require_distinct(names: Sequence[str], formats: Sequence[Format], given: Any) -> None:
    one_file = any(one.files is not None for one in formats)
    kept = [str(stem(name)) if one_file else name for name in names]
    name, count = Counter(kept).most_common(1)[0]
    if count > 1:
        first, second = [full for full, short in zip(names, kept, strict=True) if short == name][:2]
        if first == second:
            raise UserError(f"input={given} names {first} twice, by different paths: give each image once")
        raise UserError(
            f"input={given} holds {first} and {second}, whose annotations would be one file: "
            "rename one of them, or take annotations=coco"
        )
    listed = any(one.lists_names for one in formats)
    if listed and (broken := [name for name in names if len(name.splitlines()) > 1]):
        raise UserError(f"input={given} holds the name {broken[0]!r}, which no list of names can hold: rename it")
