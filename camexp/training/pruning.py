"""Ends a trial of a sweep early that promises little."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl

log = logging.getLogger(__name__)


class Pruning(pl.Callback):
    """Report each validation accuracy to an Optuna trial, and stop where its study advises it.

    Args:
        trial: see :func:`camexp.launching.optuna_study.current_trial`.

    Attributes:
        pruned: whether it was stopped.
    """

    def __init__(self, trial: Any):
        self.trial = trial
        self.pruned = False

    def state_dict(self) -> dict[str, Any]:
        return {"pruned": self.pruned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pruned = state_dict["pruned"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            step = trainer.global_step
            if step not in self.trial.study.trials[self.trial.number].intermediate_values:  # it is in a resumed run
                self.trial.report(float(trainer.callback_metrics["val/accuracy"]), step)
            self.pruned = self.trial.should_prune()
            if self.pruned:
                log.info(f"pruned at step {step}: others had a better validation accuracy by then")
        self.pruned = bool(trainer.strategy.broadcast(self.pruned))
        trainer.should_stop = trainer.should_stop or self.pruned
