"""Writing behind the network: nothing lost, nothing held without limit, no error swallowed."""

from __future__ import annotations

import threading
import time

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
