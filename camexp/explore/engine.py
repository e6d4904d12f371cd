"""One thread that owns the networks: images that wait are explained together where they fit together."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camexp.errors import UserError, reason
from camexp.explore.networks import Loaded
from camexp.explore.settings import Settings
from camexp.prediction.batches import MOST_PIXELS

log = logging.getLogger(__name__)


class OutOfTime(UserError):
    """What was asked for takes longer than it may."""


@dataclass(frozen=True)
class Maps:
    """What a network says of an image.

    Attributes:
        logits: ``(C,)`` float32.
        maps: ``(K, h, w)`` float32, raw.
        labels: ``(K,)`` whose they are.
    """

    logits: NDArray[np.float32]
    maps: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(eq=False)
class Job:
    """An image that waits.

    Attributes:
        loaded: the network.
        settings: the method.
        image: ``(3, H, W)``, preprocessed.
        labels: whose maps, as :meth:`camexp.models.CAMClassifier.explain` takes them.
        until: of ``time.monotonic``; it is given up then.
        result: what comes of it; cancelled, it is not begun any more.
    """

    loaded: Loaded
    settings: Settings
    image: Tensor
    labels: str | tuple[int, ...]
    until: float
    result: Future[Maps] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What those have in common that go through the network together."""
        return id(self.loaded), self.settings, self.image.shape, self.labels

    @property
    def pixels(self) -> int:
        """Of the largest view."""
        return int(self.image.shape[-1] * self.image.shape[-2] * max(1.0, *self.settings.scales) ** 2)


class Engine:
    """Explains images, one batch after another, in a thread of its own while its block lasts.

    Args:
        batch_size: images of a batch at most.
    """

    def __init__(self, batch_size: int = 16):
        self.batch_size = batch_size
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._until = float("inf")
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def submit(self, job: Job) -> Future[Maps]:
        """Have it explained when its turn comes."""
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        return job.result

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """What is being computed ends with its forward pass."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(10)

    def _run(self) -> None:
        while batch := self._next():
            try:
                explained = self._explain(batch)
                for job, maps in zip(batch, explained, strict=True):
                    with suppress(InvalidStateError):  # given up meanwhile
                        job.result.set_result(maps)
            except Exception as error:
                told = error if isinstance(error, UserError) else UserError(f"the network failed: {reason(error)}")
                if told is not error:
                    log.warning(f"the network failed: {reason(error)}", exc_info=error)
                for job in batch:
                    _fail(job, told)

    def _next(self) -> list[Job]:
        """The image that waits for longest and others of its kind; nothing: the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if self._closing:
                    for job in self._waiting:
                        _fail(job, UserError("explore is ending"))
                    return []
                alive = [job for job in self._waiting if not job.result.done()]  # others were given up meanwhile
                if not alive:
                    self._waiting.clear()
                    continue
                most = max(1, min(self.batch_size, MOST_PIXELS // alive[0].pixels))
                batch = [job for job in alive if job.kind == alive[0].kind][:most]
                self._waiting = deque(job for job in alive if job not in batch)
                self._until = max(job.until for job in batch)
                return batch

    def _explain(self, batch: list[Job]) -> list[Maps]:
        job = batch[0]
        torch.get_num_threads()  # a thread begins with what was set last anywhere, when it first asks
        torch.set_num_threads(self._threads)
        # a method may need hundreds of passes: time is looked at before each of them
        watch = job.loaded.model.trunk.register_forward_pre_hook(lambda *_: self._require_time())
        try:
            labels = list(job.labels) if isinstance(job.labels, tuple) else job.labels
            result = job.settings.build()(job.loaded.model, torch.stack([one.image for one in batch]), labels)
        finally:
            watch.remove()
        arrays = (result.logits.cpu().numpy(), result.maps.cpu().numpy(), result.labels.cpu().numpy())
        return [Maps(*one) for one in zip(*arrays, strict=True)]

    def _require_time(self) -> None:
        if self._closing or time.monotonic() > self._until:
            raise OutOfTime("these maps take longer than limits.seconds: take a quicker method, or fewer scales")


def _fail(job: Job, error: Exception) -> None:
    with suppress(InvalidStateError):
        job.result.set_exception(error)
