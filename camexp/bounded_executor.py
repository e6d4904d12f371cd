"""A thread pool with a bounded queue: results are written while the network computes the next ones.

The standard library's pool takes any number of items, so a slow disk would fill the memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class BoundedExecutor:
    """Call a function in threads, with a limit to what waits: memory does not grow with the number of images.

    Encoding PNGs lets go of the interpreter, so threads do. The first error is raised at the next
    :meth:`submit` or at :meth:`finish`. After it, and on any way out of the ``with`` block, running calls are finished
    and all queued ones dropped: with one thread, none is made without those before it.

    Args:
        function: called with each submitted result.
        max_waiting: the most results in the queue; :meth:`submit` waits while it is full.
        max_workers: threads; one keeps the order. Default: one a core, at most four.

    >>> done = []
    >>> with BoundedExecutor(done.append, max_waiting=2) as writing:
    ...     for number in range(5):
    ...         writing.submit(number)
    ...     writing.finish()
    >>> sorted(done)
    [0, 1, 2, 3, 4]
    """

    def __init__(self, function: Callable[..., None], max_waiting: int, max_workers: int | None = None):
        self.function, self.max_waiting = function, max_waiting
        self._pool = ThreadPoolExecutor(max_workers or min(4, os.cpu_count() or 1))
        self._waiting: deque[Future[None]] = deque()
        self._dropping = False

    def submit(self, *arguments: Any) -> None:
        """Queue one call."""
        while len(self._waiting) >= self.max_waiting:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._call, *arguments))

    def finish(self) -> None:
        """Wait until the queue is empty."""
        while self._waiting:
            self._waiting.popleft().result()

    def _call(self, *arguments: Any) -> None:
        if self._dropping:
            return
        try:
            self.function(*arguments)
        except BaseException:
            self._dropping = True
            raise

    def __enter__(self) -> BoundedExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self._dropping = True  # while shutdown empties the queue, the thread goes on taking from it: later calls alone
        self._pool.shutdown(cancel_futures=True)
