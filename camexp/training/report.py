"""How a run ended: files, a table, and what to do next."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl

from camexp.config import TrainOptions, flat
from camexp.errors import reason
from camexp.files import write_json
from camexp.launching import program
from camexp.run_files import REPORT, SUMMARY
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.loggers import log_final
from camexp.training.progress import TrainingProgress
from camexp.training.pruning import Pruning
from camexp.training.summary import device_name, git_commit, next_command, summary_table, versions
from camexp.viewer.run_page import write_run_page

log = logging.getLogger(__name__)

WAIT = 20  # times as long as the page took to write, until it is written again

C = TypeVar("C", bound=pl.Callback)


def report(trainer: pl.Trainer, datamodule: CAMDataModule, options: TrainOptions) -> float:
    """Write ``summary.json``, print the table and the next command; returns the best validation accuracy.

    To be called by all training processes: the first one tells.
    """
    checkpoints = find_callback(trainer, Checkpoints)
    best_accuracy = checkpoints.best_accuracy
    assert best_accuracy is not None  # the last step is always validated, see StopAfter
    final = dict(checkpoints.metrics)
    if not trainer.is_global_zero:
        return best_accuracy
    summary = {
        "run_folder": str(options.run_dir),
        "final": final,
        "best": {"val/accuracy": best_accuracy, "step": checkpoints.best_step},
        **state_of_run(trainer, datamodule, options),
    }
    write_json(Path(options.run_dir) / SUMMARY, summary)
    if options.report:
        write_run_page(Path(options.run_dir))
    log_final(trainer, flat(options.to_dict()), final)
    images, first = datamodule.images, datamodule.split.val[0]
    if images.source is None:
        command = next_command(program.current().spelled("predict"), checkpoints.best, images.paths[first])
    else:  # no file to name
        command = next_command(program.current().spelled("evaluate"), checkpoints.best, None)
    page = f"\n  look at               {Path(options.run_dir) / REPORT}   (in a browser)" if options.report else ""
    log.info(f"\n{summary_table(summary)}{page}\n\nsee where it looks:\n  {command}")
    return best_accuracy


def state_of_run(trainer: pl.Trainer, datamodule: CAMDataModule, options: TrainOptions) -> dict[str, Any]:
    """What ``summary.json`` says of a run besides its results."""
    progress = find_callback(trainer, TrainingProgress)
    return {
        "options": flat(options.to_dict()),
        "pruned": any(isinstance(callback, Pruning) and callback.pruned for callback in trainer.callbacks),  # type: ignore[attr-defined]
        "steps": trainer.global_step,
        "seconds": round(progress.elapsed, 3),
        "images_per_second": round(progress.images_per_second, 3),
        "classes": len(datamodule.images.classes),
        "train_images": len(datamodule.split.train),
        "val_images": len(datamodule.split.val),
        "device": device_name(trainer.strategy.root_device),
        "devices": trainer.world_size,
        "precision": str(trainer.precision),
        "features": datamodule.features and datamodule.features.summary(),
        "versions": versions(),
        "git_commit": git_commit(Path(__file__).parent),
    }


class RunReport(pl.Callback):
    """Write the run's page when training begins, after validations and when the run is stopped.

    A page is written again once twenty times as long has passed as the last one took.

    Args:
        options: of the run.
        datamodule: of the run.
    """

    def __init__(self, options: TrainOptions, datamodule: CAMDataModule):
        self.options, self.datamodule = options, datamodule
        self._next = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if time.monotonic() >= self._next:
            self._write(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            return
        begun = time.monotonic()
        try:
            write_run_page(Path(self.options.run_dir), state_of_run(trainer, self.datamodule, self.options))
        except OSError as error:  # no reason to end the training
            log.warning(f"{REPORT} could not be written ({reason(error)})")
        now = time.monotonic()
        self._next = now + WAIT * (now - begun)


def find_callback(trainer: pl.Trainer, kind: type[C]) -> C:
    """The trainer's callback of that kind."""
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))  # type: ignore[attr-defined]
