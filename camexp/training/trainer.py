"""A Lightning Trainer that checks accuracy at the right steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from camexp.config import TrainerOptions
from camexp.errors import UserError, reason
from camexp.models.checkpoint import read_checkpoint
from camexp.training.stopping import StopAfter

# what Lightning's Trainer is given here, by the option that decides it
SET_BY = {
    "accelerator": "trainer.gpus",
    "devices": "trainer.gpus",
    "precision": "precision",
    "callbacks": "callbacks",
    "logger": "logger",
    "default_root_dir": "hydra.run.dir",
    "val_check_interval": "trainer.check_every_n_steps",
    "check_val_every_n_epoch": "trainer.check_every_n_steps",
    "enable_checkpointing": "checkpoint",
}
# these change what a step, an epoch or a validation is, which checkpoints count in and summaries tell of
_ALL_IMAGES = "an epoch is all training images here: choose trainer.max_steps, dataset.classes or split"
_ALL_CHECKED = (
    "a validation is of all validation images here: choose trainer.check_every_n_steps, or a smaller split.val_fraction"
)
_SHORTEST = "a run ends after trainer.max_epochs or trainer.max_steps, whichever comes first: choose these"
UNSUPPORTED = {
    "accumulate_grad_batches": "a step is a batch here: choose batch_size",
    "limit_train_batches": _ALL_IMAGES,
    "overfit_batches": _ALL_IMAGES,
    "reload_dataloaders_every_n_epochs": "the images are those that the run began with: leave it out",
    "limit_val_batches": _ALL_CHECKED,
    "fast_dev_run": "a quick trial is a run as any other: choose trainer.max_steps=1",
    "min_epochs": _SHORTEST,
    "min_steps": _SHORTEST,
}


class SafeCheckpointIO(TorchCheckpointIO):
    """Checkpoints written where they are to be, and read without executing what they hold.

    Lightning's own writer has them in memory once more, and in the system's folder for temporary files, which may be
    small, and where a kill leaves them.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with open(path, "wb") as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        return read_checkpoint(path, "resume")


def total_steps(options: TrainerOptions, steps_per_epoch: int) -> int:
    """How many optimizer steps a run has: ``max_epochs`` or ``max_steps``, whichever ends first.

    >>> total_steps(TrainerOptions(max_epochs=2), 10), total_steps(TrainerOptions(max_epochs=2, max_steps=15), 10)
    (20, 15)
    """
    limits = [options.max_steps] if options.max_steps is not None else []
    if options.max_epochs is not None:
        limits.append(options.max_epochs * steps_per_epoch)
    return int(min(limits))


def check_interval(asked: int | str | None, steps_per_epoch: int, validation_batches: int) -> int | None:
    """The steps from one validation to the next; ``None``: the end of each epoch.

    Args:
        asked: ``trainer.check_every_n_steps``. ``auto`` is every 100 steps, or less often, so that no more images are
            checked than trained on.
        steps_per_epoch, validation_batches: batches of training and of validation images.

    >>> check_interval("auto", 1000, 20), check_interval("auto", 32500, 8125), check_interval("auto", 1000, 1000)
    (100, 8125, None)
    >>> check_interval(100, 32500, 8125), check_interval(100, 50, 10), check_interval(None, 1000, 20)
    (100, None, None)
    """
    every = max(100, validation_batches) if asked == "auto" else asked
    return int(every) if every is not None and int(every) < steps_per_epoch else None


def require_supported(extra: Mapping[str, Any]) -> None:
    """Make sure that Lightning's own options leave a run what it is here.

    Args:
        extra: those of the ``trainer`` group that are not ours.

    Raises:
        UserError: one of them does not.
    """
    for name, instead in UNSUPPORTED.items():
        if name in extra:
            raise UserError(f"trainer.{name}={extra[name]} is not supported: {instead}")


def build_lightning_trainer(
    options: TrainerOptions,
    devices: Mapping[str, Any],
    precision: str | int,
    steps_per_epoch: int,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    run_folder: Path,
    validation_batches: int = 0,
) -> pl.Trainer:
    """The Trainer of a run.

    Args:
        options: the ``trainer`` group; keys that are not ours are Lightning's own.
        devices: see :func:`camexp.devices.select_devices`.
        precision: Lightning's, as ``32-true``, ``bf16-mixed``, ``16-mixed``.
        steps_per_epoch: an epoch that is no longer than ``check_every_n_steps`` is validated at its end instead.
        callbacks, loggers: what watches.
        run_folder: nothing is written outside it.
        validation_batches: see :func:`check_interval`.
    """
    every = check_interval(options.check_every_n_steps, steps_per_epoch, validation_batches)
    steps = total_steps(options, steps_per_epoch)
    extra = options.extra
    strategy = {} if options.strategy == "auto" else {"strategy": options.strategy}
    settings: dict[str, Any] = dict(
        **{**devices, **strategy},
        num_nodes=options.num_nodes,
        max_epochs=-(-steps // steps_per_epoch),
        max_steps=-1,
        precision=precision,
        # counted across epochs: every 100 steps means every 100 steps
        val_check_interval=every or 1.0,
        check_val_every_n_epoch=None if every else 1,
        log_every_n_steps=options.log_every_n_steps,
        gradient_clip_val=options.gradient_clip_val,
        callbacks=[StopAfter(steps), *callbacks],
        plugins=[SafeCheckpointIO()],
        logger=list(loggers),
        default_root_dir=run_folder,
        enable_checkpointing=False,  # our own callback names the files and writes them whole
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # the datamodule shares out images without counting any twice
    )
    if taken := sorted(extra.keys() & settings.keys()):
        instead = f"give {SET_BY[taken[0]]}=… instead" if taken[0] in SET_BY else "leave it out"
        raise UserError(f"trainer.{taken[0]}={extra[taken[0]]} is set by camexp itself: {instead}")
    try:
        return pl.Trainer(**settings, **extra)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise UserError(f"trainer: {reason(error)}") from error
