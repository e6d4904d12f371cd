"""Results that threads finish in any order, passed on in the order of their numbers."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class InOrder(Generic[T]):
    """Call a function with result after result as soon as all before are there; several threads may put. Once it has
    failed it is not called any more: no result is passed on whose predecessor was lost.

    Args:
        write: called with each, by one thread at a time.
        first: the number that all others come after.

    Attributes:
        next: the number that is waited for.

    >>> passed = []
    >>> order = InOrder(passed.append)
    >>> for index, value in ((1, "b"), (0, "a"), (3, "d")):
    ...     order.put(index, value)
    >>> passed
    ['a', 'b']
    >>> order.finish()  # number 2 never comes
    >>> passed
    ['a', 'b', 'd']
    """

    def __init__(self, write: Callable[[T], None], first: int = 0):
        self._write = write
        self._waiting: dict[int, T] = {}
        self.next = first
        self._lock = Lock()
        self._failed = False

    def put(self, index: int, value: T) -> None:
        """The result of one number."""
        with self._lock:
            self._waiting[index] = value
            while self.next in self._waiting:
                value = self._waiting.pop(self.next)
                self.next += 1
                self._pass_on(value)

    def finish(self) -> None:
        """Pass on what waits for numbers that never came."""
        with self._lock:
            for index in sorted(self._waiting):
                self._pass_on(self._waiting.pop(index))

    def _pass_on(self, value: T) -> None:
        if self._failed:
            return
        try:
            self._write(value)
        except BaseException:
            self._failed = True
            raise
