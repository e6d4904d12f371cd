"""A frozen trunk on a CPU: some images a thread, rather than all threads on every convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def map_in_threads(function: Callable[[Tensor], Tensor], parts: Sequence[Tensor]) -> list[Tensor]:
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

    def call(part: Tensor) -> Tensor:
        with torch.inference_mode(inference), torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, casts):
            return function(part)

    pool = ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads, initargs=(1,))
    try:
        return list(pool.map(call, parts))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C no part is begun any more
        torch.set_num_threads(threads)  # the last number set anywhere is also what new threads begin with
