"""best.ckpt, last.ckpt and step_000100.ckpt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from camexp.files import replacing
from camexp.reporting.console import log


class Checkpoints(pl.Callback):
    """Save every so many steps, whenever validation improves, at the end, and on Ctrl-C.

    Args:
        folder: where the files go.
        every_n_steps: how often a ``step_….ckpt`` is written; 0 for never.
        keep: how many of these to keep, the newest; ``None`` keeps all.
    """

    def __init__(self, folder: Path, every_n_steps: int = 100, keep: int | None = 5):
        self.folder = folder
        self.every_n_steps, self.keep = every_n_steps, keep
        self.best_accuracy: float | None = None
        self.best_step = 0
        self._saved_step = 0

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if not self.every_n_steps or step % self.every_n_steps or step == self._saved_step:
            return
        self._saved_step = step
        path = self.folder / f"step_{step:06d}.ckpt"
        self._save(trainer, path)
        if trainer.is_global_zero:
            self._copy_to_last(path)
            self._drop_old()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        if self.best_accuracy is None or accuracy > self.best_accuracy:
            self.best_accuracy, self.best_step = accuracy, trainer.global_step
            self._save(trainer, self.best)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._save(trainer, self.last)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt) and trainer.is_global_zero:
            # every process holds the whole state, and the others may be gone: none is waited for
            state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
            with replacing(self.last) as temporary:
                trainer.strategy.checkpoint_io.save_checkpoint(state, temporary)
            log.info(f"interrupted after step {trainer.global_step}: saved {self.last}")

    def state_dict(self) -> dict[str, Any]:
        return {"best_accuracy": self.best_accuracy, "best_step": self.best_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_accuracy, self.best_step = state_dict["best_accuracy"], state_dict["best_step"]

    def _save(self, trainer: pl.Trainer, path: Path) -> None:
        if not trainer.is_global_zero:  # takes part in gathering the state, writes nothing
            trainer.save_checkpoint(path)
            return
        with replacing(path) as temporary:
            trainer.save_checkpoint(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())

    def _copy_to_last(self, path: Path) -> None:
        with replacing(self.last) as temporary:
            try:
                os.link(path, temporary)  # the same bytes under a second name cost nothing
            except OSError:
                shutil.copyfile(path, temporary)

    def _drop_old(self) -> None:
        if self.keep is not None:
            steps = sorted(self.folder.glob("step_*.ckpt"), key=lambda path: int(path.stem[5:]))
            for path in steps[: -self.keep or None]:
                path.unlink()
