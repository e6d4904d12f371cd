"""Signals that ask a run to stop: noted at once, obeyed where nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from camexp.launching.processes import SIGNALS


class Interrupts:
    """In its block the signals above only leave a note; a second Ctrl-C interrupts at once.

    A handler that someone else has set before (a cluster's launcher) is left alone.

    Args:
        notice: what a Ctrl-C is answered with.

    Attributes:
        signum: the signal that came, or 0.

    >>> with Interrupts() as interrupts:
    ...     interrupts.handle(signal.SIGTERM, None)
    ...     interrupts.signum == signal.SIGTERM
    True
    """

    def __init__(self, notice: str = "stopping after this step (Ctrl-C again: at once, with nothing saved)") -> None:
        self.notice = notice
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
            signal.signal(one, self.handle)

    def handle(self, signum: int, frame: FrameType | None) -> None:
        """The handler."""
        if os.getpid() != self._process:  # a process that reads images: Ctrl-C is the main process's business
            if signum != signal.SIGINT:
                signal.signal(signum, signal.SIG_DFL)
                os.kill(os.getpid(), signum)
            return
        self.signum = signum
        if signum == signal.SIGINT:
            signal.signal(signum, signal.default_int_handler)
            os.write(2, f"\n{self.notice}\n".encode())


def signal_name(signum: int) -> str:
    """As a person knows it.

    >>> signal_name(signal.SIGINT), signal_name(signal.SIGTERM)
    ('Ctrl-C', 'SIGTERM')
    """
    return "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
