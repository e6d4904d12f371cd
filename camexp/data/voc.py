"""Boxes from Pascal VOC's XML files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from camexp.errors import UserError


def read_voc_files(folder: Path, files: Sequence[Path]) -> Mapping[str, list[list[float]]]:
    """The boxes of Pascal VOC files, each by its image's name, and where several have it, by that in the file's own
    folder: tools that write a file beside each image name nothing else.

    Args:
        folder: what paths of images are relative to, or its folder ``Annotations`` if the files lie there.
        files: the XML files below it.

    Raises:
        UserError: two files in one folder are of one image, or one declares entities.
        ElementTree.ParseError, ValueError: one is no such file.
    """
    read = [read_voc(file) for file in files]
    count = Counter(name for name, _, _ in read)
    found: dict[str, list[list[float]]] = {}
    for file, (name, _, boxes) in zip(files, read, strict=True):
        place = file.parent.relative_to(folder)
        below = Path(*place.parts[1:]) if place.parts[:1] == ("Annotations",) else place
        key = name if count[name] == 1 else (below / name).as_posix()
        if key in found:
            raise UserError(f"boxes: {file} is of {name}, as another file in its folder: expected one file an image")
        found[key] = boxes
    return found


def read_voc(path: Path, first: int = 1) -> tuple[str, list[str], list[list[float]]]:
    """A Pascal VOC file.

    Args:
        path: the XML.
        first: the number of the first pixel: 1 in Pascal VOC, 0 in ImageNet's files of the same form.

    Returns:
        The image's name, the classes of its objects, and their x0, y0, x1, y1 counted from 0, corners inclusive.

    Raises:
        UserError: it declares entities.
        ElementTree.ParseError, ValueError: it is no such file.
    """
    text = path.read_bytes()
    _refuse_entities(text, path)
    tree = ElementTree.fromstring(text)
    name = tree.findtext("filename") or path.stem
    boxes = [
        [float(box.findtext(side, "nan")) - first for side in ("xmin", "ymin", "xmax", "ymax")]
        for box in tree.iterfind("object/bndbox")
    ]
    return name, [one.findtext("name", "") for one in tree.iterfind("object")], boxes


def _refuse_entities(text: bytes, path: Path) -> None:
    """Entities could grow a short file beyond all memory; the parser itself tells of them, whatever the encoding."""

    def refuse(*_: Any) -> None:
        raise UserError(f"boxes: {path} declares entities, which no Pascal VOC file does")

    parser = expat.ParserCreate()
    parser.EntityDeclHandler = refuse  # before anything is expanded
    parser.Parse(text, True)
