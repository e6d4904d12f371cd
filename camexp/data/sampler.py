"""In which order images are trained on, as a function of the seed, the epoch and the batch.

There is no state: the seed and the number of batches so far determine all that comes, whatever the number of workers
and of interruptions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler


class SampleIndex(NamedTuple):
    """An image in an epoch.

    Attributes:
        image: its index in the data set.
        key: what its random changes follow from.
        counted: ``False`` for one that only fills the share of a process for which no image was left.
    """

    image: int
    key: tuple[int, ...] = ()
    counted: bool = True


class EpochBatchSampler(Sampler[list[SampleIndex]]):
    """The batches of an epoch, or one process's share of them; each epoch in an order of its own.

    All processes together see the same batches, whatever their number.

    Args:
        count: images.
        batch_size: images a batch, over all processes together.
        seed: of the order and of the images' random changes.
        rank, world_size: which process of how many.

    >>> order = EpochBatchSampler(5, batch_size=2, seed=0)
    >>> [[sample.image for sample in batch] for batch in order]
    [[2, 4], [3, 0], [1]]
    >>> order.start_at(epoch=0, batch=1)
    >>> [[sample.image for sample in batch] for batch in order]
    [[3, 0], [1]]
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1):
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.epoch = self.start = 0

    def start_at(self, epoch: int, batch: int = 0) -> None:
        """Resume at that batch of that epoch; the epochs after it start at their first."""
        self.epoch, self.start = epoch, batch

    def set_epoch(self, epoch: int) -> None:
        """The epoch that comes next."""
        if epoch != self.epoch:
            self.start_at(epoch)

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for batch in range(self.start, len(self)):
            items = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            share = [
                SampleIndex(int(item), (self.seed, self.epoch, int(item)))
                for item in items[self.rank :: self.world_size]
            ]
            yield share or [SampleIndex(int(items[0]), (self.seed, self.epoch), counted=False)]


def derive_seed(*key: int) -> int:
    """A seed that differs wherever any number of the key does.

    >>> derive_seed(0, 1) == derive_seed(0, 1), derive_seed(0, 1) == derive_seed(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]) >> 1  # torch takes 63 bits


@contextmanager
def seeded_rng(*key: int) -> Iterator[None]:
    """In the block, random numbers of torch (CPU), NumPy and Python follow from the key; after it, all is as before.

    >>> with seeded_rng(3, 1):
    ...     first = float(torch.rand(()))
    >>> with seeded_rng(3, 1):
    ...     print(float(torch.rand(())) == first)
    True
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    seed = derive_seed(*key)
    torch.random.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
