"""Resuming an interrupted run: from its newest intact checkpoint, with the same numbers as without the interruption."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from camexp.config import TrainOptions
from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.launching.run_folder import traces
from camexp.models.checkpoint import METADATA, read_checkpoint
from camexp.run_files import CAM_MAPS, CAM_STEPS, CAMS, CHECKPOINTS, METRICS, SUMMARY
from camexp.training.datamodule import CAMDataModule
from camexp.training.position import Position
from camexp.training.resume_checks import require_same_options

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run resumes.

    Attributes:
        path: the checkpoint; ``None`` where the folder holds none, and the run restarts.
        step: the last one before it.
        position: in the epochs.
        written: the bytes that tables had, by name.
        images: what was trained on, see :func:`camexp.training.resume_checks.image_digest`.
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
            f"resume: none of {', '.join(unreadable[:4])} in {folder / CHECKPOINTS} can be read: "
            "remove them to restart, or give another hydra.run.dir"
        )
    if path is None:
        log.info(f"resume: {folder} holds no intact checkpoint: the run restarts")
        return ResumePoint(None, written={})
    checkpoint = read_checkpoint(path, "resume", mmap=True)
    require_same_options(checkpoint[METADATA]["config"], options, folder)
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
    for path in (folder / METRICS, folder / CAMS / CAM_STEPS, folder / CAMS / CAM_MAPS):
        size = (resumed.written or {}).get(path.name, 0)
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
