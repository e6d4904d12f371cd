"""Where the objects are: boxes from the formats in which people keep them."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.data.matlab import read_matlab
from camexp.data.voc import read_voc_files
from camexp.errors import UserError, reason

Boxes = NDArray[np.float64]
# Caltech-101's annotations call four folders of its images otherwise.
_CALTECH = {
    "Faces_2": "Faces", "Faces_3": "Faces_easy", "Motorbikes_16": "Motorbikes", "Airplanes_Side_2": "airplanes",
}  # fmt: skip
FORMATS = (
    "a CSV (image,x0,y0,x1,y1), a folder of Pascal VOC XML files or of Caltech-101 annotations, "
    "a COCO JSON, or a WSOL localization.txt"
)


def read_boxes(source: str | Path, option: str = "boxes") -> dict[str, Boxes]:
    """Boxes by image.

    Args:
        source: a CSV with the columns ``image,x0,y0,x1,y1`` (several rows an image, more columns are passed
            over), a folder of Pascal VOC XML, a COCO JSON, a folder of Caltech-101 annotation ``.mat``, or a
            WSOL ``localization.txt`` (``image,x0,y0,x1,y1`` without a header; see also :func:`read_sizes`).
        option: which one gave the source, for errors.

    Returns:
        Image names as they stand there, each with ``(G, 4)`` x0, y0, x1, y1 in pixels of the file counted
        from 0, corners inclusive.

    Raises:
        UserError: no such file, another format, or an inverted box.
    """
    path = Path(source).expanduser()
    if not path.exists():
        raise UserError(f"{option}={source} does not exist: give {FORMATS}")
    try:
        if path.is_dir():
            found = _read_folder(path, f"{option}={source}")
        elif path.suffix.lower() == ".json":
            found = _coco(json.loads(path.read_text(encoding="utf-8")))
        elif path.suffix.lower() in (".csv", ".txt"):
            found = _rows(path, option)
        else:
            raise UserError(f"{option}={source} has the ending {path.suffix or '(none)'}: expected {FORMATS}")
    except UserError:
        raise
    except Exception as error:  # whatever a broken file makes a reader raise
        raise UserError(f"{option}={source} could not be read ({reason(error)}): expected {FORMATS}") from error
    boxes = {name: np.asarray(rows, np.float64).reshape(-1, 4) for name, rows in found.items() if len(rows)}
    if not boxes:
        raise UserError(f"{option}={source} holds no box: expected {FORMATS}")
    for name, each in boxes.items():
        if not np.isfinite(each).all() or (each[:, :2] > each[:, 2:]).any():
            raise UserError(
                f"{option}={source}: a box of {name} is inverted or no number: expected x0 <= x1 and y0 <= y1"
            )
    return boxes


def read_sizes(source: str | Path, option: str = "boxes") -> dict[str, tuple[int, int]]:
    """For which size of an image its boxes were drawn: the ``image_sizes.txt`` beside a WSOL ``localization.txt``.

    Returns:
        Image name → width and height; nothing without such a file, where boxes refer to the files as they are.

    Raises:
        UserError: a line that is not ``image,width,height``.
    """
    path = Path(source).expanduser()
    beside = next(iter(sorted(path.rglob("localization.txt"))), None) if path.is_dir() else path
    if beside is None or beside.name != "localization.txt":
        return {}
    listed = beside.with_name("image_sizes.txt")
    if not listed.is_file():
        return {}
    sizes: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(listed.read_text(encoding="utf-8-sig").splitlines(), 1):
        name, *size = line.rsplit(",", 2)
        try:
            width, height = map(int, size)
            if min(width, height) < 1:
                raise ValueError
        except ValueError as error:
            raise UserError(
                f"{option}={source}: line {number} of {listed} is not image,width,height: {line[:80]}"
            ) from error
        sizes[name] = width, height
    return sizes


def match(
    names: Sequence[str], paths: Sequence[Path], root: Path, among: Sequence[Path] | None = None
) -> dict[int, str]:
    """Which image each name means: its path below the root, or that without its ending, or its bare name if only
    one image has it.

    Args:
        names: from :func:`read_boxes`.
        paths: the images; root: their folder.
        among: all images of the data set, of which these are a part: a bare name must be another's nowhere; ``None``:
            these are all.

    Returns:
        Index in ``paths`` → name.

    >>> match(["a/1", "2.jpg"], [Path("r/a/1.jpg"), Path("r/b/1.jpg"), Path("r/b/2.jpg")], Path("r"))
    {0: 'a/1', 2: '2.jpg'}
    """
    ways: list[dict[str, list[Path]]] = [defaultdict(list) for _ in range(4)]
    for path in paths if among is None else among:
        relative = Path(*path.parts[len(root.parts) :]) if path.parts[: len(root.parts)] == root.parts else path
        keys = (relative.as_posix(), relative.with_suffix("").as_posix(), path.name, path.stem)
        for way, key in zip(ways, keys, strict=True):
            way[key].append(path)
    places = {path: index for index, path in enumerate(paths)}
    found: dict[int, str] = {}
    for name in names:
        clean = name.replace("\\", "/").removeprefix("./")
        for way in ways:
            if len(meant := way.get(clean, [])) == 1:
                if meant[0] in places:
                    found[places[meant[0]]] = name
                break
    return dict(sorted(found.items()))


def clip(boxes: Boxes, width: int, height: int, name: str) -> Boxes:
    """Boxes cut at the image's border.

    Raises:
        UserError: a box that lies outside as a whole.

    >>> clip(np.array([[-2.0, 0.0, 9.0, 4.0]]), 8, 8, "a.jpg")
    array([[0., 0., 7., 4.]])
    """
    outside = (boxes[:, :2] >= [width, height]).any(1) | (boxes[:, 2:] < 0).any(1)
    if outside.any():
        raise UserError(
            f"boxes: {boxes[outside][0].tolist()} lies outside of {name}, which has {width}×{height} pixels: "
            "are they the boxes of these images?"
        )
    return boxes.clip(0, np.array([width, height, width, height]) - 1)


def upright(boxes: Boxes, size: tuple[int, int], orientation: int) -> Boxes:
    """Boxes that were drawn in an image as it is stored, in the image as it is shown.

    Args:
        boxes: ``(G, 4)`` x0, y0, x1, y1, corners inclusive.
        size: width and height as stored.
        orientation: the EXIF tag, 1 to 8.

    >>> upright(np.array([[0.0, 0.0, 9.0, 4.0]]), (40, 20), orientation=6)  # turned clockwise: top left is top right
    array([[15.,  0., 19.,  9.]])
    """
    (width, height), corners = size, boxes.reshape(-1, 2, 2)
    if orientation >= 5:
        (width, height), corners = (height, width), corners[:, :, ::-1]
    mirrored = np.array([width, height]) - 1 - corners
    axes = [orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)]
    return np.sort(np.where(axes, mirrored, corners), axis=1).reshape(-1, 4)


def _read_folder(folder: Path, given: str) -> Mapping[str, Any]:
    if wsol := next(iter(sorted(folder.rglob("localization.txt"))), None):
        return _rows(wsol)
    if files := sorted(folder.rglob("*.xml")):
        return read_voc_files(folder, files)
    if files := sorted(folder.rglob("*.mat")):
        return dict(_caltech(file) for file in files)
    raise UserError(f"{given} is a folder without annotations: expected {FORMATS}")


def _rows(path: Path, option: str = "boxes") -> Mapping[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        columns = ["image", "x0", "y0", "x1", "y1"]
        order = list(range(5))
        for line, row in enumerate(reader, 1):
            if not row:
                continue
            if line == 1 and "image" in row:
                if missing := [name for name in columns if name not in row]:
                    raise UserError(f"{option}={path}: the column {missing[0]} is missing: expected image,x0,y0,x1,y1")
                order = [row.index(name) for name in columns]
                continue
            try:
                found[row[order[0]]].append([float(row[index]) for index in order[1:]])
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"{option}={path}: line {line} is not image,x0,y0,x1,y1: {','.join(row)[:80]}"
                ) from error
    return found


def _coco(content: Any) -> Mapping[str, list[list[float]]]:
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[list[float]]] = defaultdict(list)
    for one in content["annotations"]:
        x, y, width, height = map(float, one["bbox"])
        found[names[one["image_id"]]].append([x, y, x + max(width, 1) - 1, y + max(height, 1) - 1])
    return found


def _caltech(path: Path) -> tuple[str, list[list[float]]]:
    y0, y1, x0, x1 = read_matlab(path)["box_coord"].astype(np.float64).ravel()[:4]
    number = re.sub(r"\D", "", path.stem)
    folder = _CALTECH.get(path.parent.name, path.parent.name)
    return f"{folder}/image_{number}", [[x0, y0, x1, y1]]
