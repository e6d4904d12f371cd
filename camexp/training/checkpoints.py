"""The checkpoints best.ckpt, last.ckpt and step_000100.ckpt, each between two steps, so that a run resumes exactly."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from camexp.errors import UserError, reason
from camexp.files import atomic_write, fsync
from camexp.models.checkpoint import IMAGES, METADATA
from camexp.training.interrupts import DistributedInterrupts, interruption
from camexp.training.position import Position, loop_state
from camexp.training.stopping import validate

METRICS = ("val/accuracy", "val/loss", "val/pointing", "train/loss")


class Checkpoints(pl.Callback):
    """Save every ``every_n_steps``, whenever validation improves, at the end, and when interrupted.

    What is due is written before the next step begins, when all that belongs to the last one is done: its row in
    the tables, its snapshot, its validation. So a run resumes exactly from every checkpoint.

    Args:
        folder: where the files go.
        every_n_steps: how often a ``step_….ckpt`` is written; 0 for never.
        keep: how many of these to keep, the newest; ``None`` keeps all.
        written: tables that grow during the run; their lengths are part of a checkpoint.
        images: stands for what is trained on, see :func:`camexp.training.resume_checks.image_digest`.
        names: of the images in ``train`` and in ``val``, see :func:`camexp.data.names.name_hashes`: a later evaluation
            knows them by these, whatever has become of the data set.
    """

    def __init__(
        self,
        folder: Path,
        every_n_steps: int = 100,
        keep: int | None = 5,
        written: Sequence[Path] = (),
        images: str | None = None,
        names: Mapping[str, Tensor] | None = None,
    ):
        self.folder, self.written, self.images, self.names = folder, tuple(written), images, names
        self.every_n_steps, self.keep = every_n_steps, keep
        self.interrupts = DistributedInterrupts()
        self.best_accuracy: float | None = None
        self.best_step = 0
        self.metrics: dict[str, float] = {}
        self._train_loss: Tensor | None = None
        self.position = Position()
        self._best_due = False
        self._saved_step = 0

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.interrupts.install()
        self._saved_step = trainer.global_step
        if not self.position.validated:  # it was stopped in the middle of it
            self.position = Position()
            validate(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # an epoch of which only the validation was left has no step after which Lightning would note this itself
        trainer.fit_loop.epoch_loop.restarting = False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        epoch_loop = trainer.fit_loop.epoch_loop
        epoch_loop._batches_that_stepped = trainer.global_step  # Lightning loses count on resuming after a validation
        self._between_steps(trainer, epoch_loop.batch_progress.total.completed)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        # a run may be stopped in the validation that follows, and then takes no further step after resuming
        self._train_loss = trainer.callback_metrics.get("train/loss")

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.world_size > 1 or not self.interrupts.signum or trainer.sanity_checking:
            return  # several processes agree between steps
        done = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        self.position = Position.after(done, int(trainer.num_training_batches), validated=False)
        self._note_metrics({})  # those of this validation are not measured yet
        self._save(trainer, [self.last])
        raise interruption(self.interrupts.signum, trainer.global_step, self.last)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        require_finite(trainer, "val/loss")  # the last step may have ruined what its own loss was measured before
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        if self.best_accuracy is None or accuracy > self.best_accuracy:
            self.best_accuracy, self.best_step = accuracy, trainer.global_step
            self._best_due = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._between_steps(trainer, trainer.fit_loop.epoch_loop.batch_progress.total.completed, [self.last])

    def _between_steps(self, trainer: pl.Trainer, batches: int, due: Sequence[Path] = ()) -> None:
        step, signum = trainer.global_step, self.interrupts.agreed(trainer)
        paths = [self.best] if self._best_due else []
        if self.every_n_steps and step % self.every_n_steps == 0 and step != self._saved_step:
            paths += [self.folder / f"step_{step:06d}.ckpt", self.last]
        paths += due if due else [self.last] if signum else []
        if paths:
            require_finite(trainer)
            self._note_metrics(trainer.callback_metrics)
            self.position = Position.after(batches, int(trainer.num_training_batches))
            self._save(trainer, list(dict.fromkeys(paths)))
            self._best_due, self._saved_step = False, step
            if trainer.is_global_zero:
                self._drop_old()
        if signum and not due:
            raise interruption(signum, step, self.last)

    def _note_metrics(self, logged: Mapping[str, Tensor]) -> None:
        if self._train_loss is not None:
            logged = {**logged, "train/loss": self._train_loss}
        self.metrics |= {key: float(logged[key]) for key in METRICS if key in logged}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["loops"] = loop_state(self.position, checkpoint["loops"], int(trainer.num_training_batches))
        sizes = {path.name: fsync(path) for path in self.written} if trainer.is_global_zero else {}
        checkpoint[f"{METADATA}_resume"] = {**self.position._asdict(), "written": sizes, "images": self.images}
        if self.names is not None:
            checkpoint[IMAGES] = dict(self.names)

    def state_dict(self) -> dict[str, Any]:
        return {"best_accuracy": self.best_accuracy, "best_step": self.best_step, "metrics": dict(self.metrics)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_accuracy, self.best_step = state_dict["best_accuracy"], state_dict["best_step"]
        self.metrics = dict(state_dict["metrics"])

    def _save(self, trainer: pl.Trainer, paths: Sequence[Path]) -> None:
        if not trainer.is_global_zero:  # takes part in gathering the state, writes nothing
            trainer.save_checkpoint(paths[0])
            return
        with atomic_write(paths[0]) as temporary:
            try:
                trainer.save_checkpoint(temporary)
                fsync(temporary)
            except (OSError, RuntimeError) as error:  # told while the disk is still as full as it was
                raise UserError(
                    f"{paths[0]} could not be written ({why_not_written(error, self.folder)}): make room, or mend the "
                    "disk; resume=auto then resumes from the checkpoint before"
                ) from error
        for path in paths[1:]:
            with atomic_write(path) as temporary:
                try:
                    os.link(paths[0], temporary)  # the same bytes under another name cost nothing
                except OSError:
                    shutil.copyfile(paths[0], temporary)
        fsync(self.folder)

    def _drop_old(self) -> None:
        if self.keep is not None:
            steps = sorted(self.folder.glob("step_*.ckpt"), key=lambda path: int(path.stem[5:]))
            for path in steps[: -self.keep or None]:
                path.unlink()


def why_not_written(error: Exception, folder: Path) -> str:
    """In a clause; torch's writer of archives has a word of its own for a full disk: ``unexpected pos``."""
    full = isinstance(error, RuntimeError) and shutil.disk_usage(folder).free < 2**20
    return os.strerror(errno.ENOSPC) if full else reason(error)


def require_finite(trainer: pl.Trainer, metric: str = "train/loss") -> None:
    """End a run whose loss is NaN or infinite, before anything is saved.

    Args:
        trainer: that logged it.
        metric: the loss.

    Raises:
        UserError: with the step and the likely causes.
    """
    loss = float(trainer.callback_metrics.get(metric, 0.0))
    if not math.isfinite(loss):
        raise UserError(
            f"the {'validation ' * (metric == 'val/loss')}loss is {loss} at step {trainer.global_step}: "
            "lower optimizer.lr, or set trainer.gradient_clip_val=1, or look for broken images; checkpoints "
            "written before are kept"
        )
