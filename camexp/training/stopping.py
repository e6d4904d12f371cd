"""The end of a run: after how many steps, and validated."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl


class StopAfter(pl.Callback):
    """Stop after ``total_steps``, with a last validation whatever the validation interval.

    Lightning's own limit would end without one, and could not be resumed from there. Where another callback stops the
    run at an epoch's end Lightning validates no more either. To be the first of the callbacks: the others finish once
    all is measured.

    Args:
        total_steps: see :func:`camexp.training.trainer.total_steps`.
    """

    def __init__(self, total_steps: int):
        self.total_steps = total_steps
        self.ended_early_of = 0  # so many steps, because another callback stopped the run
        self.validated_step: int | None = 0  # None: resumed from a checkpoint of an earlier version

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = trainer.global_step >= self.total_steps or self.ended_early_of == self.total_steps

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step >= self.total_steps:
            trainer.should_stop = True  # Lightning validates once more before it stops

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.validated_step = trainer.global_step

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # first, so that a run that is interrupted in its last validation does not train on afterwards
        self.ended_early_of = self.total_steps if trainer.global_step < self.total_steps else 0
        if self.validated_step not in (None, trainer.global_step):
            validate(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"ended_early_of": self.ended_early_of, "validated_step": self.validated_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.ended_early_of = state_dict["ended_early_of"]
        self.validated_step = state_dict.get("validated_step")


def validate(trainer: pl.Trainer) -> None:
    """Validate between two steps of a training."""
    trainer.validating = True
    trainer.fit_loop.epoch_loop.val_loop.run()
    trainer.training = True
