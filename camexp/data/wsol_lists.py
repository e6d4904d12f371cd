"""The lists of one part of wsolevaluation's metadata: images, labels, boxes or masks, sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from camexp.data.box_formats import Boxes, read_boxes, read_sizes
from camexp.errors import UserError, reason

FOLDERS = {"train": "train-weaksup", "val": "train-fullsup", "test": "test"}  # as the papers call them
EXPECTED = (
    "expected train, val and test with image_ids.txt and class_labels.txt each, as metadata/CUB of wsolevaluation"
)


@dataclass
class Lists:
    """The lists of one part.

    Attributes:
        folder: where they stand.
        ids: the images, as paths below the root.
        labels: of each image.
        boxes: image → ``(G, 4)``; sizes: image → width and height; masks: image → files; ignore: image → a file.
    """

    folder: Path
    ids: list[str]
    labels: dict[str, int]
    boxes: dict[str, Boxes] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    masks: dict[str, list[str]] = field(default_factory=dict)
    ignore: dict[str, str] = field(default_factory=dict)


def metadata_folder(metadata: str | None) -> Path:
    if not metadata:
        raise UserError(f"dataset.metadata is not given: add dataset.metadata=DIR, {EXPECTED}")
    folder = Path(metadata).expanduser()
    if any((folder / name).is_dir() for names in FOLDERS.items() for name in names):
        return folder
    below = sorted(path.parent.name for path in folder.glob("*/test") if path.is_dir())
    came = f"give one of the data sets in it, as dataset.metadata={folder / below[0]}" if below else EXPECTED
    raise UserError(f"dataset.metadata={metadata} holds no folder train, val or test: {came}")


def read_part(metadata: Path, part: str, proxy: bool) -> Lists | None:
    """The lists of a part; ``None`` if there are none."""
    folder = next((metadata / name for name in (part, FOLDERS[part]) if (metadata / name).is_dir()), None)
    if folder is None:
        return None
    ids = _lines(folder / "image_ids.txt")
    if not ids:
        raise UserError(f"dataset.metadata={metadata}: {folder / 'image_ids.txt'} names no image: {EXPECTED}")
    if len(set(ids)) < len(ids):
        double = Counter(ids).most_common(1)[0][0]
        raise UserError(f"dataset.metadata={metadata}: {folder / 'image_ids.txt'} names {double} twice: remove a line")
    lists = Lists(folder, ids, _class_labels(folder / "class_labels.txt"))
    _require_same(ids, lists.labels, folder / "class_labels.txt")
    source = folder / "localization.txt"
    if source.is_file():
        if _has_boxes(source):
            lists.boxes = read_boxes(source, "dataset.metadata")
            lists.sizes = read_sizes(source, "dataset.metadata")
            if lists.sizes:
                _require_same(ids, lists.sizes, folder / "image_sizes.txt")
        else:
            lists.masks, lists.ignore = _mask_files(source)
        _require_same(ids, lists.boxes or lists.masks, source)
    elif part != "train":
        raise UserError(
            f"dataset.metadata={metadata}: {source} does not exist: localisation on the {part} images needs it, "
            "with image,x0,y0,x1,y1 or image,mask,ignore on each line"
        )
    if proxy and part == "train":
        listed = folder / "image_ids_proxy.txt"
        lists.ids = _lines(listed)
        if unknown := [name for name in lists.ids if name not in lists.labels]:
            raise UserError(f"dataset.proxy=true: {listed} names {unknown[0]}, which {folder / 'image_ids.txt'} lacks")
    return lists


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line]
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.metadata: {path} cannot be read ({reason(error)}): {EXPECTED}") from error


def _class_labels(path: Path) -> dict[str, int]:
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        name, _, label = line.rpartition(",")
        if not name or not label.isdecimal():
            raise UserError(
                f"dataset.metadata: line {number} of {path} is not image,label with a whole number from 0: {line[:80]}"
            )
        labels[name] = int(label)
    return labels


def _has_boxes(path: Path) -> bool:
    """Whether a ``localization.txt`` is one of boxes: its first line ends with four numbers."""
    first = next(iter(_lines(path)), "")
    ends = first.rsplit(",", 4)[1:]
    return len(ends) == 4 and all(one.strip().removeprefix("-").replace(".", "", 1).isdecimal() for one in ends)


def _mask_files(path: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    masks: dict[str, list[str]] = {}
    ignore: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        name, *files = line.rsplit(",", 2)
        if len(files) != 2 or not files[0]:
            raise UserError(
                f"dataset.metadata: line {number} of {path} is neither image,x0,y0,x1,y1 nor image,mask,ignore: "
                f"{line[:80]}"
            )
        masks.setdefault(name, []).append(files[0])
        if files[1] and name in ignore:
            raise UserError(f"dataset.metadata: line {number} of {path} gives {name} a second mask of what to ignore")
        if files[1]:
            ignore[name] = files[1]
    return masks, ignore


def _require_same(ids: Collection[str], others: Collection[str], path: Path) -> None:
    mine, theirs = set(ids), set(others)
    for absent, said in ((mine - theirs, "lacks"), (theirs - mine, "names")):
        if absent:
            which = "" if said == "lacks" else f", which {path.with_name('image_ids.txt')} does not name"
            raise UserError(
                f"dataset.metadata: {path} {said} {len(absent)} image{'s' * (len(absent) > 1)}{which} "
                f"(the first is {min(absent)}): take both lists from one release"
            )
