"""Loggers: metrics.csv for every run, and pictures and texts for whichever logger can take them."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from PIL import Image
from pytorch_lightning import loggers
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from camexp.files import naming
from camexp.launching.overrides import command_line
from camexp.training.tensorboard import TensorBoardLogger, hyperparameters, named_options


class MetricsCSV(Logger):
    """One row for each step at which anything was logged, appended as it happens."""

    COLUMNS = (
        "step", "epoch", "train/loss", "train/l2", "train/regularise", "train/accuracy", "lr", "images_per_second",
        "val/loss", "val/accuracy", "val/pointing",
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
        begun = self._begun()
        with naming(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, begun or self.COLUMNS, extrasaction="ignore")
            if not begun:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})

    def _begun(self) -> list[str]:
        """The columns of the file as it is: an earlier version may have begun it with others."""
        if not self.path.exists():
            return []
        with self.path.open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])


def log_image(trainer: pl.Trainer, tag: str, image: Image.Image, card: Image.Image, step: int) -> None:
    """A picture, to every logger that takes pictures.

    Args:
        trainer: whose loggers.
        tag: the picture's name.
        image: the picture.
        card: the same for TensorBoard, which shows it a few hundred pixels wide.
        step: after which it was made.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.log_image(tag, card, step)
        elif isinstance(logger, loggers.TensorBoardLogger):
            logger.experiment.add_image(tag, np.asarray(card), step, dataformats="HWC")
        elif type(logger).__name__ == "WandbLogger":
            logger.log_image(tag, [image], step=step)  # type: ignore[attr-defined]
        elif type(logger).__name__ == "MLFlowLogger":
            logger.experiment.log_image(logger.run_id, image, f"{tag}_{step:06d}.png")  # type: ignore[attr-defined]


def log_begin(trainer: pl.Trainer, config: str, options: dict[str, Any], localises: bool) -> None:
    """Configuration, hyperparameters and charts, to TensorBoard; the other loggers take all options at the end.

    Args:
        trainer: whose loggers.
        config: the configuration as YAML.
        options: the same as ``a.b``.
        localises: whether maps are measured.
    """
    overrides, choices = command_line()
    named = named_options(options, overrides, choices)
    for logger in trainer.loggers:
        if isinstance(logger, loggers.TensorBoardLogger):
            logger.experiment.add_text("config", "    " + config.replace("\n", "\n    "))
        if isinstance(logger, TensorBoardLogger):
            logger.log_begin(hyperparameters(options, named, choices), named, localises)


def log_final(trainer: pl.Trainer, options: dict[str, Any], metrics: dict[str, float]) -> None:
    """The run's final metrics, with its options where a logger has a table of runs."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            # the others are the ends of its curves
            measured_now = {name: value for name, value in metrics.items() if name not in trainer.callback_metrics}
            logger.log_end(measured_now, trainer.global_step)
        elif not isinstance(logger, MetricsCSV):
            final = {f"final/{name}": value for name, value in metrics.items()}
            if isinstance(logger, loggers.TensorBoardLogger):
                logger.log_hyperparams(options, final)
            else:
                logger.log_hyperparams(options)
                logger.log_metrics(final)
            logger.save()
