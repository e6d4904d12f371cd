"""Resuming an interrupted run: from its newest intact checkpoint, with the same numbers as without the interruption."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from camexp.config import TrainOptions, flat
from camexp.data import ImageSet, Split
from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.launching.run_folder import traces
from camexp.models import CAMClassifier
from camexp.models.checkpoint import METADATA, STATE_PREFIX, read_checkpoint
from camexp.run_files import CAM_STEPS, CAMS, CHECKPOINTS, METRICS, SUMMARY
from camexp.training.datamodule import CAMDataModule
from camexp.training.position import Position

log = logging.getLogger(__name__)

# Options without which the numbers are the same, or which may change on purpose in the middle of a run.
MAY_CHANGE = (
    "run_dir", "resume", "debug", "command", "num_workers", "model.weights", "dataset.root", "dataset.download",
    "dataset.check", "checkpoint.", "inspect.", "logger.", "cam.", "callbacks.", "features.", "trainer.", "precision",
    "compile",
)  # fmt: skip
NOT_REPORTED = ("run_dir", "resume", "debug", "command", "num_workers", "logger.")


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run resumes.

    Attributes:
        path: the checkpoint; ``None`` where the folder holds none, and the run restarts.
        step: the last one before it.
        position: in the epochs.
        written: the bytes that tables had, by name.
        images: what was trained on, see :func:`image_digest`.
        accuracy: the best one, of a run that is finished already.
    """

    path: Path | None
    step: int = 0
    position: Position = field(default_factory=Position)
    written: Mapping[str, int] | None = None
    images: str | None = None
    accuracy: float | None = None


def find_resume_point(options: TrainOptions) -> ResumePoint | None:
    """What a run folder holds to resume from; ``None`` if it is new.

    Raises:
        UserError: an option changed that may not.
    """
    folder = Path(options.run_dir)
    if not traces(folder):
        return None
    path = newest_intact(folder / CHECKPOINTS)
    unreadable = [one.name for one in sorted((folder / CHECKPOINTS).glob("[!.]*.ckpt"))]
    if path is None and unreadable:  # they may be of another version, or the disk away: nothing is thrown away for that
        raise UserError(
            f"resume: none of {', '.join(unreadable[:4])} in {folder / 'checkpoints'} can be read: "
            "remove them to restart, or give another hydra.run.dir"
        )
    if path is None:
        log.info(f"resume: {folder} holds no intact checkpoint: the run restarts")
        return ResumePoint(None, written={})
    checkpoint = read_checkpoint(path, "resume", mmap=True)
    _require_same(checkpoint[METADATA]["config"], options, folder)
    about = checkpoint[f"{METADATA}_resume"]
    accuracy = _finished(folder, checkpoint[METADATA]["config"], options)
    if accuracy is not None:
        log.info(f"{folder} is finished already: best validation accuracy {accuracy:.4f}")
        return ResumePoint(path, checkpoint["global_step"], accuracy=accuracy)
    log.info(f"resume: from {path}, after step {checkpoint['global_step']}")
    return ResumePoint(
        path=path,
        step=checkpoint["global_step"],
        position=Position(about["epoch"], about["batch"], about["validated"]),
        written=about["written"],
        images=about["images"],
    )


def newest_intact(folder: Path) -> Path | None:
    """The checkpoint of the highest step whose checksums fit; corrupted ones are reported.

    >>> import tempfile
    >>> newest_intact(Path(tempfile.mkdtemp())) is None
    True
    """
    found: list[tuple[int, bool, Path]] = []
    for path in sorted(folder.glob("*.ckpt")):
        if path.name.startswith("."):
            continue
        try:
            checkpoint = read_checkpoint(path, "resume", mmap=True)
            found.append((checkpoint["global_step"], checkpoint[f"{METADATA}_resume"]["validated"], path))
        except (UserError, KeyError, TypeError):
            log.warning(f"resume: {path} is corrupted, or of another version: skipped")
    for *_, path in sorted(found, reverse=True):
        if _is_intact(path):
            return path
        log.warning(f"resume: {path} is corrupted (checksum mismatch): skipped")
    return None


class ResumeCallback(pl.Callback):
    """Rewind a run folder to the checkpoint that the run resumes from, once every process has found it.

    Args:
        resumed: see :func:`find_resume_point`.
        datamodule: writes its lists.
        folder: of the run.
    """

    def __init__(self, resumed: ResumePoint | None, datamodule: CAMDataModule, folder: Path):
        self.resumed, self.datamodule, self.folder = resumed, datamodule, folder

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if trainer.is_global_zero:
            if self.resumed is not None:
                rewind(self.folder, self.resumed)
            self.datamodule.write_lists(self.folder)


def rewind(folder: Path, resumed: ResumePoint) -> None:
    """Cut the tables to what they held, and remove the snapshots that came later: all of it comes again."""
    (folder / SUMMARY).unlink(missing_ok=True)
    for name, path in {METRICS: folder / METRICS, CAM_STEPS: folder / CAMS / CAM_STEPS}.items():
        size = (resumed.written or {}).get(name, 0)
        if not path.exists():
            continue
        if not size:
            path.unlink()
            continue
        if path.stat().st_size < size:
            log.warning(f"resume: {path} has lost rows")
            continue
        content = path.read_bytes()[:size]
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    for snapshot in (folder / CAMS).glob("step_*.*"):
        if snapshot.stem[5:].isdecimal() and (resumed.path is None or int(snapshot.stem[5:]) > resumed.step):
            snapshot.unlink()
    for part in (folder, folder / CHECKPOINTS, folder / CAMS):
        for left in part.glob(".[0-9]*~*"):  # what a killed process was about to rename
            left.unlink()


def image_digest(images: ImageSet, split: Split) -> str:
    """Of the names, the classes and the split of all images: another one means other training data."""
    digest = hashlib.sha256()
    root = os.path.join(os.fsencode(images.root), b"")
    paths = images.path_array
    endings = [f"\0{name}\0".encode(errors="surrogateescape") for name in images.classes]
    for indices in (split.train, split.val):
        for index in indices:
            path = paths.encoded(index)
            # os.path.relpath asks for the working directory each time: 13 s for a million images
            below = path.startswith(root) and b".." not in path
            name = path[len(root) :] if below else os.path.relpath(path, os.fsencode(images.root))
            digest.update(name + endings[images.labels[index]])
        digest.update(b"\1")
    return digest.hexdigest()


def require_same_trunk(resumed: ResumePoint, classifier: CAMClassifier) -> None:
    """Make sure that the network was built as the run's own: what is frozen, and what its input is brought to, are
    used before a checkpoint is restored.

    Raises:
        UserError: other weights, or another preprocessing, than the run had.
    """
    if resumed.path is None:
        return
    checkpoint = read_checkpoint(resumed.path, "resume", mmap=True)
    before = checkpoint["state_dict"]
    same = checkpoint[METADATA]["preprocessing"] == classifier.preprocessing.to_dict() and all(
        parameter.requires_grad or _same(before[f"{STATE_PREFIX}{name}"], parameter.cpu())
        for name, parameter in classifier.named_parameters()
        if f"{STATE_PREFIX}{name}" in before
    )
    if not same:
        raise UserError(
            "resume: model.weights gives another network than the run was begun with: bring the file back that it was, "
            "or start anew with another hydra.run.dir"
        )


def _same(before: Tensor, now: Tensor) -> bool:
    """Whether a frozen weight is what it was; only nearly so, where the run resumes at another precision."""
    if before.dtype == now.dtype:
        return torch.equal(before, now)
    coarsest = max(torch.finfo(one.dtype).eps for one in (before, now))
    return before.shape == now.shape and torch.allclose(before.double(), now.double(), rtol=coarsest, atol=1e-6)


def require_same_images(resumed: ResumePoint, digest: str, root: Path) -> None:
    """Make sure that the images are those of the run so far.

    Raises:
        UserError: they are not.
    """
    if resumed.images not in (None, digest):
        raise UserError(
            f"resume: the images or the classes in dataset.root={root} are not those that the run was trained on so "
            "far: bring the folder back to what it was, or start anew with another hydra.run.dir"
        )


def _require_same(before: Mapping[str, Any], options: TrainOptions, folder: Path) -> None:
    old, new = flat(before), flat(options.to_dict())
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    told = [key for key in changed if not key.startswith(NOT_REPORTED)]

    def change(key: str) -> str:
        return f"{key}={new.get(key)} (was {old.get(key)})"

    refused = [key for key in told if not key.startswith(MAY_CHANGE)]
    if refused:
        raise UserError(
            f"resume: {', '.join(map(change, refused))} cannot change in the middle of the run in {folder}: "
            "leave it as it was, or start anew with another hydra.run.dir"
        )
    if told:
        log.info(f"resume: changed since: {', '.join(map(change, told))}")


def _finished(folder: Path, before: Mapping[str, Any], options: TrainOptions) -> float | None:
    limits = ("max_epochs", "max_steps")
    if any(before["trainer"][limit] != getattr(options.trainer, limit) for limit in limits):
        return None  # it is to be trained for longer now
    try:
        return float(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["best"]["val/accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_intact(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return False
