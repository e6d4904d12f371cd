"""The GPUs of a machine, shared out among jobs that run side by side."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from camexp.errors import Interrupted
from camexp.launching.signals import Interrupts, signal_name
from camexp.locks import lock_file

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0  # locks can be waited for one at a time only, and any of several will do

Taken = tuple[str, AbstractContextManager[Any]]  # a GPU, and what holds it for one job


@contextmanager
def reserve_gpu(gpus: Sequence[str], alone: bool = False, job: str = "a job") -> Iterator[str | None]:
    """One of several GPUs that no other job of this user has, or that as few have as any; ``None`` if there are none.

    Where no locks are known it is the first one.

    Args:
        gpus: as ``CUDA_VISIBLE_DEVICES`` names them; the first are taken first.
        alone: share it with nobody, but wait until another job lets go of one.
        job: who waits, for the line that tells it.

    Raises:
        Interrupted: a signal came, or the sweep's own process ended, while it waited.

    >>> with reserve_gpu(["0", "1"]) as first, reserve_gpu(["0", "1"]) as second, reserve_gpu(["0", "1"]) as third:
    ...     print(first, second, third)
    0 1 0
    """
    if not gpus:
        yield None
        return
    try:
        gpu, held = _wait_for_one(gpus, job) if alone else _least_used(gpus)
    except OSError:
        gpu, held = gpus[0], nullcontext()
    with held:
        yield gpu


def _take(gpus: Sequence[str], slot: int) -> Taken | None:
    """A GPU with this slot free; ``None`` if all are taken."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    for gpu in gpus:
        name = f"camexp-gpu-{user}-{gpu.replace(os.sep, '_')}-{slot}"
        try:
            return gpu, lock_file(Path(tempfile.gettempdir(), name), shared=False)
        except BlockingIOError:
            continue
    return None


def _least_used(gpus: Sequence[str]) -> Taken:
    return next(taken for slot in itertools.count() if (taken := _take(gpus, slot)) is not None)


def _wait_for_one(gpus: Sequence[str], job: str) -> Taken:
    if (taken := _take(gpus, slot=0)) is not None:
        return taken
    log.info(f"{job} waits for a GPU: other jobs have {', '.join(gpus)}")
    sweep = os.getppid()
    with Interrupts(f"{job} no longer waits for a GPU") as interrupts:
        while (taken := _take(gpus, slot=0)) is None:
            if interrupts.signum:
                raise Interrupted(f"{job} was stopped by {signal_name(interrupts.signum)}", interrupts.signum)
            if os.getppid() != sweep:  # a launcher's worker is not told
                raise Interrupted(f"{job} has lost its sweep", signal.SIGTERM)
            time.sleep(POLL_SECONDS)
    return taken
