"""A frozen trunk on a CPU: some images a thread, rather than all threads on every convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

T = TypeVar("T")

# Of a batch on a CPU: with more, the layers' outputs leave its caches, and the system hands out new memory for each;
# VGG-16 then takes up to a fifth longer.
MICRO_BATCH_PIXELS = 224 * 224


def micro_batch_size(batch_size: int, height: int, width: int, threads: int = 1) -> int:
    """How many of a batch's images a CPU's thread takes together, so that all threads have something to do.

    >>> micro_batch_size(32, 224, 224), micro_batch_size(32, 64, 64), micro_batch_size(32, 64, 64, threads=8)
    (1, 12, 4)
    """
    return max(1, min(MICRO_BATCH_PIXELS // (height * width), math.ceil(batch_size / threads)))


def in_parts(
    run: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor, of: int | None = None, threads: int | None = None
) -> tuple[Tensor, ...]:
    """What ``run`` makes of a batch on a CPU, some images at a time.

    Args:
        run: images to tensors, an image a row in each.
        images: ``(B, 3, H, W)``, at least one.
        of: see :meth:`camexp.models.CAMClassifier.trunk_features`.
        threads: how many take part; ``None``: as many as torch uses.

    >>> doubled, halved = in_parts(lambda some: (some * 2, some / 2), torch.ones(3, 3, 224, 224))
    >>> doubled.shape, float(halved[2, 0, 0, 0])
    (torch.Size([3, 3, 224, 224]), 0.5)
    """
    threads = threads or torch.get_num_threads()
    count, (height, width) = len(images), images.shape[-2:]
    few = micro_batch_size(of or count, height, width, threads)
    if of is not None:
        images = F.pad(images, (0, 0, 0, 0, 0, 0, 0, -count % few))
    parts = images.split(few)
    # fewer images than threads are done sooner one after the other, by all threads together
    in_turn = threads == 1 or (of is None and count < threads)
    outputs = [run(part) for part in parts] if in_turn else map_in_threads(run, parts)
    return tuple(torch.cat(one)[:count] for one in zip(*outputs, strict=True))


def map_in_threads(function: Callable[[Tensor], T], parts: Sequence[Tensor]) -> list[T]:
    """``function`` of each part, in as many threads as torch uses, each of them computing alone.

    Threads that share a convolution wait for the slowest of them after each layer, and all wait when something else
    (decoding, writing) takes one core for a moment. Here whichever is free takes the next part: a tenth faster on two
    cores, and what else the program does costs its own time only (benchmarks/RESULTS.md).

    Args:
        function: lets go of the interpreter while it computes, as torch does; called in the caller's grad mode and
            autocast.
        parts: what it is called with.

    Returns:
        The results, in the order of the parts; with gradients only as far as ``function`` leads.

    >>> [int(one) for one in map_in_threads(torch.sum, [torch.ones(2), torch.ones(5), torch.ones(3)])]
    [2, 5, 3]
    """
    # torch keeps all of these for each thread
    threads, grad, inference = torch.get_num_threads(), torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    casts, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def call(part: Tensor) -> T:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, casts):
            return function(part)

    pool = ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(call, parts))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C no part is begun any more
        torch.set_num_threads(threads)  # the last number set anywhere is also what new threads begin with
