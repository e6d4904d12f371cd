"""A training run that is interrupted: its processes agree, and it says how to resume."""

from __future__ import annotations

import logging

import pytorch_lightning as pl
import torch

from camexp.errors import Interrupted
from camexp.launching.signals import Interrupts, signal_name

log = logging.getLogger(__name__)

EVERY = 10  # steps between the processes' agreements on a GPU, which an agreement makes wait


class DistributedInterrupts(Interrupts):
    """As :class:`camexp.launching.signals.Interrupts`, for processes that train together."""

    def agreed(self, trainer: pl.Trainer) -> int:
        """The signal that any of the training processes has been sent, or 0; all of them get the same answer."""
        if trainer.world_size == 1:
            return self.signum
        if trainer.strategy.root_device.type != "cpu" and trainer.global_step % EVERY:
            return 0
        noted = torch.tensor(self.signum, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(noted, reduce_op="max"))


def interruption(signum: int, step: int, saved: object) -> Interrupted:
    """What to raise once all is saved."""
    log.debug(f"{signal_name(signum)} at step {step}")
    return Interrupted(
        f"stopped by {signal_name(signum)} after step {step}, saved as {saved}: "
        "the same command with hydra.run.dir=… and resume=auto resumes from there",
        signum,
    )
