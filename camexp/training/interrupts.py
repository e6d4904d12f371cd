"""Signals that ask a run to stop: noted at once, obeyed where nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from camexp.errors import Interrupted
from camexp.launching.processes import SIGNALS
from camexp.reporting.console import log

EVERY = 10  # steps between the processes' agreements on a GPU, which an agreement makes wait


class Interrupts:
    """In its block the signals above only leave a note; a second Ctrl-C interrupts at once.

    A handler that someone else has set before (a cluster's launcher) is left alone.

    >>> with Interrupts() as interrupts:
    ...     interrupts.noted(signal.SIGTERM, None)
    ...     interrupts.signum == signal.SIGTERM
    True
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}
        self._process = 0

    def __enter__(self) -> Interrupts:
        self._process = os.getpid()
        if threading.current_thread() is threading.main_thread():
            free = (signal.SIG_DFL, signal.default_int_handler, None)
            self._before = {one: handler for one in SIGNALS if (handler := signal.getsignal(one)) in free}
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)
        self._before = {}

    def install(self) -> None:
        """Take the signals over, also from Lightning, which takes them when it starts to fit."""
        for one in self._before:
            signal.signal(one, self.noted)

    def noted(self, signum: int, frame: FrameType | None) -> None:
        """The handler."""
        if os.getpid() != self._process:  # a process that reads images: Ctrl-C is the training process's business
            if signum != signal.SIGINT:
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            return
        self.signum = signum
        if signum == signal.SIGINT:
            signal.signal(signum, signal.default_int_handler)
            os.write(2, b"\nstopping after this step (Ctrl-C again: at once, with nothing saved)\n")

    def agreed(self, trainer: pl.Trainer) -> int:
        """The signal that any of the training processes has been sent, or 0; all of them get the same answer."""
        if trainer.world_size == 1:
            return self.signum
        if trainer.strategy.root_device.type != "cpu" and trainer.global_step % EVERY:
            return 0
        noted = torch.tensor(self.signum, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(noted, reduce_op="max"))


def stopped(signum: int, step: int, saved: object) -> Interrupted:
    """What to raise once all is saved."""
    name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
    log.debug(f"{name} at step {step}")
    return Interrupted(
        f"stopped by {name} after step {step}, saved as {saved}: "
        "the same command with hydra.run.dir=… and resume=auto goes on from there",
        signum,
    )
