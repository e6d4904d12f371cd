"""Where training stands: a bar on a terminal, plain lines on a pipe; and how fast it goes."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from camexp.errors import UserError
from camexp.features.batches import Batch
from camexp.reporting.console import log
from camexp.reporting.progress import Progress


class TrainingProgress(pl.Callback):
    """Epoch, step, loss, accuracy, images/s and time left.

    The rate counts training steps and the wait for their data, not the checks between them.

    Attributes:
        images: trained on so far, over all processes.
        seconds: spent training on them.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._progress: Progress | None = None
        self._since = 0.0
        self._window = (0, 0.0)
        self._looked, self._note = 0.0, ""

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        if trainer.is_global_zero:
            total = int(trainer.estimated_stepping_batches)
            self._progress = Progress("training", total, "steps").__enter__()
            self._progress.done = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = time.monotonic()
        self.images += len(batch.labels) * trainer.world_size
        self.seconds += now - self._since
        self._since = now
        due = trainer.global_step % trainer.log_every_n_steps == 0  # type: ignore[attr-defined]
        if due:
            images, seconds = self.images - self._window[0], self.seconds - self._window[1]
            self._window = self.images, self.seconds
            pl_module.log("images_per_second", images / max(seconds, 1e-9))
        if due or now - self._looked > 1:  # reading a number off a GPU makes it wait
            self._looked = now
            self._note = self._describe(trainer)
        if self._progress is not None:
            self._progress.advance(trainer.global_step - self._progress.done, self._note)

    def _describe(self, trainer: pl.Trainer) -> str:
        """The state in a few words; a loss that is no number any more ends the run."""
        loss, accuracy = (float(trainer.callback_metrics[f"train/{name}"]) for name in ("loss", "accuracy"))
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {trainer.global_step}: lower optimizer.lr, or set "
                "trainer.gradient_clip_val=1, or look for broken images; the last good checkpoint is kept"
            )
        epochs = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        speed = f"{self.images_per_second:.1f} images/s"
        return f"epoch {trainer.current_epoch + 1}{epochs}, loss {loss:.3f}, accuracy {accuracy:.3f}, {speed}"

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds += time.monotonic() - self._since

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = time.monotonic()
        if self._progress is not None:
            metrics = trainer.callback_metrics
            log.info(
                f"step {trainer.global_step}: validation accuracy {float(metrics['val/accuracy']):.4f}, "
                f"loss {float(metrics['val/loss']):.4f}"
            )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
