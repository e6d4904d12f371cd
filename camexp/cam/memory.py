"""Memory for large results on a CPU, handed out again once nothing refers to it any more."""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from camexp.tracing import is_traced

# The C library hands out smaller ones again by itself; larger ones it gives back to the system, which then clears each
# of their pages before it is written again. The maps of all 257 classes of an image are 50 MB: 30 of 120 ms.
MIN_BYTES = 32 * 2**20
MAX_EXCESS = 4  # times the bytes that are asked for

_free: deque[Tensor] = deque(maxlen=1)


def recycled(size: Sequence[int], like: Tensor) -> Tensor | None:
    """As ``like.new_empty(size)``, if that is large and on a CPU, in the memory of the last large one that is gone.

    The memory of one is kept for that.

    Returns:
        ``None``: too small to matter, on another device, or traced (:func:`camexp.tracing.is_traced`).

    >>> first = recycled((9, 1024, 1024), like=torch.ones(1))
    >>> place = first.data_ptr()
    >>> del first
    >>> recycled((9, 1024, 1000), like=torch.ones(1)).data_ptr() == place
    True
    """
    count = math.prod(size) * like.element_size()
    if count < MIN_BYTES or type(like) is not Tensor or like.device.type != "cpu" or is_traced():
        return None
    try:
        memory = _free.pop()
    except IndexError:
        memory = None
    if memory is None or not count <= len(memory) <= MAX_EXCESS * count:
        memory = torch.empty(count, dtype=torch.uint8, device="cpu")
    # the tensor below, and whatever else sees its memory, holds this array; it holds the memory
    array = memory.numpy()[:count]
    weakref.finalize(array, _free.append, memory).atexit = False
    return torch.from_numpy(array).view(like.dtype).view(*size)
