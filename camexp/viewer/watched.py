"""What becomes of a few images while a network trains: the maps of all classes at every step, a line of JSON each.

The file only grows, by whole lines; a page holds these lines as they are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.viewer.budget import TOP, photograph
from camexp.viewer.items import explained, is_finite
from camexp.viewer.page import json_text

MOST_VALUES = 256 * 1024  # of the maps of one image at one step; with more, those of the most probable classes


@dataclass
class Watched:
    """What such a file holds.

    Attributes:
        classes: all of them.
        identity: whether a map's mean is its class's logit.
        images: ``name``, ``path``, ``size``, ``photo``, ``truth``, ``labels`` of each.
        steps: the lines, see :func:`append_step`: step by step, image by image.
    """

    classes: list[str] = field(default_factory=list)
    identity: bool = False
    images: list[dict[str, Any]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)


def wanted_maps(count: int, height: int, width: int, labels: Sequence[int], logits: NDArray[np.floating]) -> list[int]:
    """The classes whose maps are kept: all, if they are small, else the most probable and the watched ones.

    >>> wanted_maps(3, 7, 7, [2], np.zeros(3)), wanted_maps(6, 400, 400, [4], np.arange(6.0))
    ([0, 1, 2], [1, 2, 3, 4, 5])
    """
    if count * height * width <= MOST_VALUES:
        return list(range(count))
    return sorted({*np.argsort(-logits, kind="stable")[:TOP].tolist(), *labels})


def append_head(
    path: Path, classes: Sequence[str], identity: bool, pictures: Sequence[Image.Image], names: Sequence[str],
    truths: Sequence[int | None], labels: Sequence[Sequence[int]],
) -> None:  # fmt: skip
    """Which images are watched from here on; what a file says of others before that is passed over."""
    images = [
        {"name": Path(name).name, "path": name, "size": [picture.height, picture.width],
         "photo": photograph(picture), "truth": truth, "labels": list(own)}
        for picture, name, truth, own in zip(pictures, names, truths, labels, strict=True)
    ]  # fmt: skip
    _append(path, [json_text({"classes": list(classes), "identity": identity, "images": images})])


def append_step(
    path: Path, step: int, images: Sequence[tuple[NDArray[Any], NDArray[Any], Sequence[int]]],
    normalisation: Normalisation = MIN_MAX,
) -> None:  # fmt: skip
    """The maps of all images at a step, in one write.

    Args:
        path: the file.
        step: of the training.
        images: logits ``(C,)``, maps ``(K, h, w)`` and their labels, of each image.
        normalisation: of each map by itself.
    """
    lines = []
    for number, (logits, maps, labels) in enumerate(images):
        if is_finite(logits, maps):  # else the run ends here, and says why
            lines.append(json_text({"step": step, "image": number, **explained(logits, maps, labels, normalisation)}))
    _append(path, lines)


def read_watched(path: Path, most_bytes: float = 24e6) -> Watched:
    """What the file holds, of the images that were watched last; lines that were cut short are passed over.

    Args:
        path: it need not exist.
        most_bytes: of the steps' lines; of more, steps are left out between the first and the last, evenly.

    >>> read_watched(Path("/nowhere")).steps
    []
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError:
        return Watched()
    heads = [number for number, line in enumerate(lines) if line.startswith(b'{"classes":')]
    found = None
    while heads and found is None:  # the last one that is whole
        begin = heads.pop()
        found = _parsed(lines[begin])
    if found is None:
        return Watched()
    by_step: dict[bytes, list[bytes]] = {}
    for line in lines[begin + 1 :]:
        if line.startswith(b'{"step":') and line.endswith(b"}"):
            by_step.setdefault(line[8:].partition(b",")[0], []).append(line)
    chosen = evenly(list(by_step), most_bytes, sum(map(len, lines[begin + 1 :])))
    whole = [line for step in chosen for line in by_step[step] if _parsed(line) is not None]
    steps = [line.decode().replace("<", "\\u003c") for line in whole]
    return Watched(found["classes"], found["identity"], found["images"], steps)


def evenly(steps: Sequence[Any], most: float, have: float) -> list[Any]:
    """As many of the steps as fit, the first and the last among them.

    >>> evenly(list(range(10)), 50, 100), evenly([1, 2], 5, 4)
    ([0, 2, 4, 7, 9], [1, 2])
    """
    count = len(steps) if have <= most else max(2, int(len(steps) * most / have))
    if count >= len(steps):
        return list(steps)
    return [steps[round(place)] for place in np.linspace(0, len(steps) - 1, count)]


def _append(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
