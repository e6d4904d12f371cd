"""Loggers: metrics.csv for every run, and pictures and texts for whichever logger can take them."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only


class MetricsCSV(Logger):
    """One row for each step at which anything was logged, appended as it happens."""

    COLUMNS = (
        "step", "epoch", "train/loss", "train/l2", "train/accuracy", "lr", "images_per_second",
        "val/loss", "val/accuracy",
    )  # fmt: skip

    def __init__(self, path: Path):
        super().__init__()
        self.path = path

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder has the configuration already."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row: dict[str, float | None] = {**metrics, "step": step}
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.COLUMNS, extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})


def log_image(trainer: pl.Trainer, tag: str, image: Image.Image, step: int) -> None:
    """A picture, to every logger that takes pictures."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, np.asarray(image), step, dataformats="HWC")
        elif type(logger).__name__ == "WandbLogger":
            logger.log_image(tag, [image], step=step)  # type: ignore[attr-defined]
        elif type(logger).__name__ == "MLFlowLogger":
            logger.experiment.log_image(logger.run_id, image, f"{tag}_{step:06d}.png")  # type: ignore[attr-defined]


def log_text(trainer: pl.Trainer, tag: str, text: str) -> None:
    """A text, to TensorBoard; the other loggers take the configuration as hyperparameters."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_text(tag, "    " + text.replace("\n", "\n    "))


def log_final(trainer: pl.Trainer, options: dict[str, Any], metrics: dict[str, float]) -> None:
    """Hyperparameters with the run's final metrics, for the loggers' tables of runs."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(options, metrics)
        elif not isinstance(logger, MetricsCSV):
            logger.log_hyperparams(options)
            logger.log_metrics(metrics)
        logger.save()
