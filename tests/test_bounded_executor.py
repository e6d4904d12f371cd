"""Writing behind the network: nothing lost, nothing held without limit, no error swallowed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from camexp.bounded_executor import BoundedExecutor


def test_all_is_written_and_little_waits():
    lock, done, at_once, most = threading.Lock(), [], 0, 0

    def slow(number: int) -> None:
        time.sleep(0.001)
        with lock:
            done.append(number)

    with BoundedExecutor(slow, max_waiting=3) as writing:
        for number in range(100):
            writing.submit(number)
            with lock:
                at_once = number + 1 - len(done)
            most = max(most, at_once)
        writing.finish()
    assert sorted(done) == list(range(100))
    assert most <= 3 + 1


def test_an_error_in_a_thread_reaches_the_caller():
    def fail(number: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), BoundedExecutor(fail, max_waiting=1) as writing:
        writing.submit(1)
        writing.finish()


def test_nothing_is_done_after_what_failed():
    """A commit must not come after work that was not done."""
    go, done = threading.Event(), []

    def write(number: int) -> None:
        go.wait()
        if number == 1:
            raise OSError(28, "No space left on device")
        done.append(number)

    with BoundedExecutor(write, max_waiting=9, max_workers=1) as writing:
        for number in range(6):
            writing.submit(number)
        go.set()
        wait(writing._waiting)
        with pytest.raises(OSError, match="No space left"):
            writing.finish()
    assert done == [0]


def test_nothing_is_done_after_what_was_dropped(monkeypatch):
    """While the queue is emptied the thread still takes from it: what it takes then comes after what was dropped."""
    begun, go, done = threading.Event(), threading.Event(), []

    def write(number: int) -> None:
        begun.set()
        go.wait()
        done.append(number)

    with pytest.raises(KeyboardInterrupt), BoundedExecutor(write, max_waiting=9, max_workers=1) as writing:
        shutdown = writing._pool.shutdown

        def late(**options) -> None:
            go.set()
            wait(writing._waiting)  # the thread was faster than the emptying
            shutdown(**options)

        monkeypatch.setattr(writing._pool, "shutdown", late)
        for number in range(6):
            writing.submit(number)
        begun.wait()
        raise KeyboardInterrupt
    assert done == [0]


def test_what_waits_is_dropped_when_the_block_ends_with_an_error(monkeypatch):
    begun, go, done = threading.Event(), threading.Event(), []

    def write(number: int) -> None:
        begun.set()
        go.wait()
        done.append(number)

    with pytest.raises(KeyboardInterrupt), BoundedExecutor(write, max_waiting=1000) as writing:
        shutdown = writing._pool.shutdown

        def let_go(**options) -> None:
            shutdown(wait=False, **options)
            go.set()  # what was to be dropped has been dropped: what is being written may end
            shutdown()

        monkeypatch.setattr(writing._pool, "shutdown", let_go)
        for number in range(100):
            writing.submit(number)
        begun.wait()
        raise KeyboardInterrupt
    assert 0 < len(done) < 100, "what is being written is finished, the rest is not begun"
