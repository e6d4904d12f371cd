"""Where training stands: a bar on a terminal, plain lines on a pipe; and how fast it goes."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl

from camexp.features.batches import Batch
from camexp.reporting.progress import Progress
from camexp.training.checkpoints import require_finite

log = logging.getLogger(__name__)


class TrainingProgress(pl.Callback):
    """Epoch, step, loss, accuracy, images/s and time left.

    The rate counts training steps and the wait for their data, not the checks between them.

    Args:
        total_steps: of the run.

    Attributes:
        images: trained on so far, over all processes.
        seconds: spent training on them.
        elapsed: seconds since the run began, less its interruptions.
    """

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self.images = 0
        self.seconds = self.elapsed = 0.0
        self._progress: Progress | None = None
        self._since = self._entered = 0.0
        self._window = (0, 0.0)
        self._looked, self._note = 0.0, ""

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since = self._entered = time.monotonic()
        if trainer.is_global_zero:
            self._progress = Progress("training", self.total_steps, "steps", done=trainer.global_step).__enter__()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        now = time.monotonic()
        self.images += len(batch.labels) * trainer.world_size
        self.elapsed += now - self._entered
        self._entered = now
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
        """The state in a few words; a loss that is NaN or infinite ends the run."""
        require_finite(trainer)
        loss, accuracy = (float(trainer.callback_metrics[f"train/{name}"]) for name in ("loss", "accuracy"))
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

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "seconds": self.seconds, "elapsed": self.elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
        self.elapsed = state_dict["elapsed"]
        self._window = self.images, self.seconds

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None
