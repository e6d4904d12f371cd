"""What a prediction or an evaluation is of: by this a resumed one, and every shard, knows where it belongs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from camexp import __version__
from camexp.config import EvaluateOptions, PredictOptions
from camexp.config.options import Options, as_written, flat
from camexp.data.arrays import PathArray
from camexp.errors import UserError
from camexp.files import content_digest, display_path, read_json, write_json
from camexp.launching.shards import Shard
from camexp.models import CAMClassifier

MANIFEST = "manifest.json"
O = TypeVar("O", bound=Options)  # noqa: E741
# What a result does not depend on
BESIDES = ("output", "resume", "shard", "gpus", "num_workers", "debug", "strict")


@dataclass(frozen=True)
class Manifest:
    """``manifest.json`` in the output folder, the same for all shards.

    Attributes:
        command: predict or evaluate.
        images: how many there are.
        inputs: a digest of their paths, in order.
        checkpoint: a digest of the checkpoint's bytes; of a published network its name.
        device, precision: what the network runs on and in.
        shards: how many there are.
        options: all that results depend on.
        classes: the network's.
        pool: of its head.
        page: what the report says besides its images; ``None``: there is none.
        content: what options name without saying it, by what it is called, and a digest or the number itself.
        version: of camexp.
    """

    command: str
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
    content: dict[str, str] = field(default_factory=dict)
    version: str = __version__

    @classmethod
    def of(
        cls, paths: Sequence[Path], model: CAMClassifier | None, options: PredictOptions | EvaluateOptions,
        page: Mapping[str, Any] | None = None, content: Mapping[str, str] | None = None,
    ) -> Manifest:  # fmt: skip
        """Of this prediction or evaluation; ``model`` is ``None`` where maps made elsewhere are evaluated."""
        whole = options.to_dict()
        checkpoint = None if options.ckpt is None else Path(options.ckpt).expanduser()
        return cls(
            "predict" if isinstance(options, PredictOptions) else "evaluate", len(paths), _digest_paths(paths),
            content_digest(checkpoint) if checkpoint is not None and checkpoint.is_file() else str(options.ckpt),
            "" if model is None else model.device.type, "" if model is None else model.precision, options.shards,
            {key: value for key, value in whole.items() if key not in BESIDES},
            [] if model is None else list(model.classes), "gap" if model is None else model.head.pool,
            None if page is None else dict(page), dict(content or {}),
        )  # fmt: skip

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """That in a folder; ``None`` where there is none, or one of another version's making."""
        return read_json(folder / MANIFEST, cls)

    @classmethod
    def of_shards(cls, folder: Path) -> Manifest:
        """That of shards in a folder.

        Raises:
            UserError: there is none, or nothing is divided.
        """
        found = cls.read(folder)
        if found is None:
            raise UserError(f"{folder} holds no {MANIFEST}: give the output folder of a command with shards=…")
        if found.shards == 1:
            raise UserError(f"{folder} holds results that are not divided: there is nothing to gather")
        return found

    def settle(self, folder: Path, joins: bool) -> None:
        """Write it, or make sure that the one that is there is the same.

        Args:
            folder: the output folder.
            joins: what is there goes on, in a resumed process or in other shards; else it is replaced.

        Raises:
            UserError: what is there is of other images or options.
        """
        there = self.read(folder)
        if there is not None and joins and (other := self._differences(there)):
            raise UserError(
                f"output={folder} holds results that differ in {', '.join(other)}: "
                "repeat its options to go on with it, or give another folder"
            )
        if there is None or not joins:
            write_json(folder / MANIFEST, asdict(self))

    def _differences(self, other: Manifest) -> list[str]:
        new, old = (
            flat(
                {
                    **one.options,
                    "command": one.command,
                    "shards": one.shards,
                    "precision": one.precision,
                    "device": one.device,
                }
            )
            for one in (self, other)
        )
        changed = [f"{key}={as_written(new.get(key))} (was {as_written(old.get(key))})"
                   for key in new | old if new.get(key) != old.get(key)]  # fmt: skip
        if self.inputs != other.inputs:
            changed.append(f"the images ({self.images}, was {other.images})")
        if self.checkpoint != other.checkpoint and self.options.get("ckpt") == other.options.get("ckpt"):
            changed.append("the content of ckpt")
        names = dict.fromkeys((*self.content, *other.content))
        return changed + [name for name in names if self.content.get(name) != other.content.get(name)]

    def require_images(self, paths: Sequence[Path]) -> None:
        """Make sure that images which were looked for once more are the same.

        Raises:
            UserError: they are not.
        """
        if (len(paths), _digest_paths(paths)) != (self.images, self.inputs):
            raise UserError(
                f"the {len(paths)} images that are there now are not the {self.images} of these shards: bring those "
                "back, or repeat the command with another output="
            )

    def read_options(self, folder: Path, kind: type[O]) -> O:
        """The options again, with results in ``folder``."""
        return kind.read({**self.options, "output": str(folder)}, f"{folder / MANIFEST}: options")


def _digest_paths(paths: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in PathArray.of(paths).iter_encoded():
        digest.update(path + b"\0")
    return digest.hexdigest()


def missing_shards(folder: Path, missing: Sequence[Shard], absent: int, images: int) -> str:
    """The sentence that tells which shards are not done.

    Args:
        folder: the output folder.
        missing: the shards.
        absent: how many images they lack.
        images: how many there are of all shards.

    >>> missing_shards(Path("out"), [Shard(1, 2)], 3, 8)
    '3 of 8 images are missing, of shard 1: the same command with output=out resume=auto goes on with them'
    """
    named = ", ".join(str(shard.number) for shard in missing[:10]) + " …" * (len(missing) > 10)
    return (
        f"{absent} of {images} images are missing, of shard{'s' * (len(missing) > 1)} {named}: "
        f"the same command with output={display_path(folder)} resume=auto goes on with them"
    )
