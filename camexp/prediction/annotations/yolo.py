"""YOLO's text files, as Ultralytics, CVAT and Label Studio lay them out."""

from __future__ import annotations

from typing import Any

import yaml

from camexp.cam.boxes import Box
from camexp.files import atomic_write
from camexp.prediction.annotations.format import Format, append_line, write_lines
from camexp.prediction.annotations.objects import AnnotatedImage

TRAIN = "train.txt"


def yolo_line(label: int, box: Box, size: tuple[int, int]) -> str:
    """``label cx cy w h``, in shares of the image's width and height.

    Args:
        box: in pixels, corners inclusive.
        size: ``(H, W)``.

    >>> yolo_line(3, (0, 0, 9, 4), (10, 20))
    '3 0.250000 0.250000 0.500000 0.500000'
    """
    (x0, y0, x1, y1), (height, width) = box, size
    shares = (x0 + x1 + 1) / 2 / width, (y0 + y1 + 1) / 2 / height, (x1 + 1 - x0) / width, (y1 + 1 - y0) / height
    return " ".join([str(label), *(f"{share:.6f}" for share in shares)])


class YoloFormat(Format):
    """``labels/PATH/IMAGE.txt``, ``classes.txt``, ``data.yaml``, and the images' names in ``train.txt``."""

    files = "labels"
    lists_names = True

    def begin(self) -> None:
        data = {"train": TRAIN, "val": TRAIN, "names": dict(enumerate(self.classes))}
        with atomic_write(self.folder / "data.yaml") as temporary:
            text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
            temporary.write_text(f"# {self.about}\n{text}", encoding="utf-8")
        write_lines(self.folder / "classes.txt", self.classes)
        (self.folder / TRAIN).unlink(missing_ok=True)

    def write(self, image: AnnotatedImage) -> Any:
        lines = [yolo_line(one.label, one.part.box, image.size) for one in image.objects]
        with atomic_write(self.path(image, ".txt")) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return image.name

    def append(self, written: Any) -> None:
        append_line(self.folder / TRAIN, f"./images/{written}")
