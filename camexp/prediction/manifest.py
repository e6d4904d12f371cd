"""What a prediction is of: by this a resumed one, and every shard, knows that it belongs to the others."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camexp import __version__
from camexp.config import PredictOptions
from camexp.config.options import as_written, flat
from camexp.errors import UserError
from camexp.files import content_digest, write_json
from camexp.models import CAMClassifier

MANIFEST = "manifest.json"
# What a result does not depend on
BESIDES = ("output", "resume", "shard", "gpus", "num_workers", "debug", "strict")


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` in the output folder, the same for all shards.

    Attributes:
        images: how many there are.
        inputs: a digest of their paths, in order.
        checkpoint: a digest of the checkpoint's bytes; of a published network its name.
        device, precision: what the network runs on and in.
        shards: how many there are.
        options: all that results depend on.
        classes: the network's.
        pool: of its head.
        page: what the report says besides its images; ``None``: there is none.
        version: of camexp.
    """

    images: int
    inputs: str
    checkpoint: str
    device: str
    precision: str
    shards: int
    options: dict[str, Any]
    classes: list[str]
    pool: str
    page: dict[str, Any] | None
    version: str = __version__

    @classmethod
    def of(
        cls, paths: Sequence[Path], model: CAMClassifier, options: PredictOptions, page: Mapping[str, Any] | None
    ) -> Manifest:
        """Of this prediction."""
        whole = options.model_dump(by_alias=True, mode="json")
        return cls(
            len(paths), _digest_paths(paths), _digest_file(Path(options.ckpt).expanduser(), options.ckpt),
            model.device.type, model.precision, options.shards,
            {key: value for key, value in whole.items() if key not in BESIDES},
            list(model.classes), model.head.pool, None if page is None else dict(page),
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """That of a prediction in a folder; ``None`` where there is none, or one of another version's making."""
        try:
            return cls(**json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def settle(self, folder: Path, joins: bool) -> None:
        """Write it, or make sure that the one that is there is the same.

        Args:
            folder: the output folder.
            joins: what is there goes on, in a resumed prediction or in other shards; else it is replaced.

        Raises:
            UserError: what is there is another prediction.
        """
        there = self.read(folder)
        if there is not None and joins and (other := self._differences(there)):
            raise UserError(
                f"output={folder} holds a prediction that differs in {', '.join(other)}: "
                "repeat its options to go on with it, or give another folder"
            )
        if there is None or not joins:
            write_json(folder / MANIFEST, asdict(self))

    def _differences(self, other: Manifest) -> list[str]:
        new, old = (
            flat({**one.options, "shards": one.shards, "precision": one.precision, "device": one.device})
            for one in (self, other)
        )
        changed = [f"{key}={as_written(new.get(key))} (was {as_written(old.get(key))})"
                   for key in new | old if new.get(key) != old.get(key)]  # fmt: skip
        if self.inputs != other.inputs:
            changed.append(f"the images found by input ({self.images}, was {other.images})")
        if self.checkpoint != other.checkpoint and self.options.get("ckpt") == other.options.get("ckpt"):
            changed.append("the content of ckpt")
        return changed

    def read_options(self, folder: Path) -> PredictOptions:
        """The options again, with results in ``folder``."""
        return PredictOptions.read({**self.options, "output": str(folder)}, f"{folder / MANIFEST}: options")


def _digest_paths(paths: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(os.fsencode(path) + b"\0")
    return digest.hexdigest()


def _digest_file(path: Path, name: str) -> str:
    return content_digest(path) if path.is_file() else name
