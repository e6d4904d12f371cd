"""Progress of long work: a bar on a terminal, plain lines on a pipe."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)


LINE_EVERY_SECONDS = 10.0


def duration(seconds: float) -> str:
    """Seconds as a person reads them.

    >>> duration(7.4), duration(75), duration(7300)
    ('7 s', '1 min 15 s', '2 h 01 min')
    """
    whole = round(max(seconds, 0))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Count work as it is done, and say how fast it goes and how long it will take.

    Args:
        what: a word or two.
        total: how much there is to do.
        unit: what is counted.
        done: what had been done before.
        say: takes the plain lines.

    >>> with Progress("drawing", total=3, unit="images", say=print) as progress:
    ...     for _ in range(3):
    ...         progress.advance(1)
    drawing: 3/3 images, ... images/s, 0 s
    """

    def __init__(self, what: str, total: int, unit: str, say: Callable[[str], None] = log.info, done: int = 0):
        self.what, self.total, self.unit, self.say = what, total, unit, say
        self.done = self.before = done
        self.note = ""
        self._bar: Any = None
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        self._start = self._last_line = time.monotonic()
        if sys.stdout.isatty() and find_spec("rich"):  # a minimal installation has lines instead
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as RichProgress
            from rich.table import Column

            # the text may take a second line: on a narrow terminal nothing of it is cut off
            text = TextColumn("{task.description}", table_column=Column(ratio=1, overflow="fold"))
            self._bar = RichProgress(BarColumn(bar_width=12), text, transient=True, expand=True)
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total)
        return self

    def advance(self, count: int, note: str = "") -> None:
        """So much more is done; ``note`` stands at the end of the line."""
        self.done += count
        self.note = note
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, description=self._line(now))
        elif now - self._last_line >= LINE_EVERY_SECONDS and self.done < self.total:
            self._last_line = now
            self.say(self._line(now))

    def _line(self, now: float) -> str:
        speed = (self.done - self.before) / max(now - self._start, 1e-9)
        left = f", {duration((self.total - self.done) / speed)} left" if speed > 0 else ""
        rate = f"{speed:.1f} {self.unit}/s{left}{self.note and ', ' + self.note}"
        return f"{self.what}: {self.done}/{self.total} {self.unit}, {rate}"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None and self.done:
            seconds = time.monotonic() - self._start
            speed = (self.done - self.before) / max(seconds, 1e-9)
            self.say(
                f"{self.what}: {self.done}/{self.total} {self.unit}, {speed:.1f} {self.unit}/s, {duration(seconds)}"
            )
