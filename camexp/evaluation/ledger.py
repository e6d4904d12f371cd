"""What an evaluation knows of its images so far, on the disk: a resumed one goes on from it, shards are joined of it.

Sums are kept whole, in ``sums.safetensors``, together with how far they go; what is kept of each image grows in files
of records beside it, of which as much counts as the sums say.
"""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from camexp.append_file import AppendFile, are_there
from camexp.evaluation.scored_image import ScoredImage
from camexp.evaluation.scores import Scores
from camexp.evaluation.spooled_maps import Maps
from camexp.files import atomic_write

log = logging.getLogger(__name__)

SUMS = "sums.safetensors"
SCORED, ITEMS = ".scored.jsonl", ".report.jsonl"
SECONDS = 5.0  # between two times that sums are written: so much work a killed process does again


@dataclass
class State:
    """How far an evaluation, or one shard of it, is.

    Attributes:
        next: the index of the first image that is not in the sums.
        lengths: bytes of each file of records up to there.
        seconds: that each method took.
        finished: whether that was the last.
    """

    next: int
    lengths: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    finished: bool = False

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """What a process before left; ``None`` where there is nothing, or nothing sound."""
        try:
            with safe_open(folder / SUMS, "pt") as file:
                state = cls(**json.loads(file.metadata()["state"]))
            return state if are_there(folder, state.lengths) else None
        except (OSError, SafetensorError, ValueError, TypeError, KeyError):
            return None


class Ledger:
    """Keeps an evaluation's scores and the report's items on the disk, batch by batch.

    Args:
        folder: of this shard.
        scores: of each method, as they grow.
        rows: the images of this shard.
        state: what a process before left in ``folder``; ``None``: begin anew.
        maps_of: gives the maps of an image again where they are not kept; ``None``: they are.

    Attributes:
        state: how far it is.

    Raises:
        OSError: what is there is less than it was.
    """

    def __init__(
        self, folder: Path, scores: Mapping[str, Scores], rows: range, state: State | None = None,
        maps_of: Callable[[int], Maps] | None = None,
    ):  # fmt: skip
        self.folder, self.scores, self.rows, self.maps_of = folder, scores, rows, maps_of
        self.state = state or State(rows.start)
        if state is None:
            (folder / SUMS).unlink(missing_ok=True)
        else:
            restore(folder, scores, maps_of)
        self._scored, self._items = (
            AppendFile(folder / name, length=self.state.lengths.get(name)) for name in (SCORED, ITEMS)
        )
        self._written = {name: len(one.items) for name, one in scores.items()}
        self._saved = time.monotonic()

    def add_item(self, item: dict[str, Any]) -> None:
        """One image of the report."""
        self._items.append(json.dumps(item).encode() + b"\n")

    def commit(self, following: int) -> None:
        """All images before ``following`` are scored by all methods."""
        lines = []
        for name, scores in self.scores.items():
            lines += [_line(name, item, self.maps_of is None) for item in scores.items[self._written[name] :]]
            self._written[name] = len(scores.items)
        self._scored.append(b"".join(lines))
        self.state = State(
            following, {SCORED: self._scored.length, ITEMS: self._items.length},
            {name: scores.seconds for name, scores in self.scores.items()}, following == self.rows.stop,
        )  # fmt: skip
        if self.state.finished or time.monotonic() - self._saved > SECONDS:
            self.save()

    def save(self) -> None:
        """Write the sums down."""
        tensors = {f"{name}/{key}": value.cpu().contiguous() for name, scores in self.scores.items()
                   for key, value in scores.sums().items()}  # fmt: skip
        with atomic_write(self.folder / SUMS) as temporary:
            save_file(tensors, temporary, {"state": json.dumps(asdict(self.state))})
        self._saved = time.monotonic()

    def close(self) -> None:
        """Close the files of records; once or more."""
        self._scored.close()
        self._items.close()


def restore(folder: Path, scores: Mapping[str, Scores], maps_of: Callable[[int], Maps] | None = None) -> None:
    """Add what a folder holds to the scores.

    Args:
        folder: of a shard that has begun.
        scores: of each method.
        maps_of: see :class:`Ledger`.
    """
    state = State.read(folder)
    if state is None:
        return
    with safe_open(folder / SUMS, "pt") as file:
        for name, one in scores.items():
            prefix = f"{name}/"
            one.add_sums({key[len(prefix) :]: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)})  # noqa: SIM118
            one.seconds += state.seconds.get(name, 0.0)
    for line in _lines(folder / SCORED, state.lengths.get(SCORED, 0)):
        name, item = _item(line, scores, maps_of)
        scores[name].items.append(item)


def report_items(folder: Path) -> Iterator[dict[str, Any]]:
    """The report's items of a shard, in the order of the images."""
    state = State.read(folder)
    for line in _lines(folder / ITEMS, state.lengths.get(ITEMS, 0) if state else 0):
        yield json.loads(line)


def _lines(path: Path, length: int) -> Iterator[bytes]:
    if not length:
        return
    with path.open("rb") as file:
        while file.tell() < length:
            yield file.readline()


def _line(name: str, item: ScoredImage, with_maps: bool) -> bytes:
    maps = item.maps() if with_maps else None
    content = {
        "method": name,
        "index": item.index,
        "maps": None if maps is None else [base64.b64encode(maps.tobytes()).decode(), maps.shape],
        "boxes": None if item.boxes is None else np.asarray(item.boxes, np.float64).tolist(),
        "size": item.size,
        "rank": item.rank,
        "predicted": item.predicted,
        "probability": item.probability,
        "paper_iou": item.paper_iou,
    }
    return json.dumps(content).encode() + b"\n"


def _item(line: bytes, scores: Mapping[str, Scores], maps_of: Callable[[int], Maps] | None) -> tuple[str, ScoredImage]:
    content = json.loads(line)
    name, kept = content.pop("method"), content.pop("maps")
    if kept is None:
        assert maps_of is not None
        maps = maps_of(content["index"])
    else:
        encoded, shape = kept
        maps = scores[name].spooled.add(np.frombuffer(base64.b64decode(encoded), np.float32).reshape(shape))
    boxes = None if content["boxes"] is None else np.array(content["boxes"]).reshape(-1, 4)
    return name, ScoredImage(**{**content, "maps": maps, "boxes": boxes, "size": tuple(content["size"])})
