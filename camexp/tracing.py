"""Whether operations are computed as they stand, or recorded and transformed by PyTorch."""

from __future__ import annotations

import torch


def is_traced() -> bool:
    """Whether what computes now is recorded (export, compile, trace) or transformed (vmap, jvp …): operations must then
    return new tensors, and none may be written.

    >>> is_traced(), torch.func.vmap(lambda row: row + is_traced())(torch.zeros(2)).tolist()
    (False, [1.0, 1.0])
    """
    transformed: bool = torch._C._are_functorch_transforms_active()  # what torch.autograd.Function asks
    forward_mode = getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0
    return transformed or forward_mode or torch.jit.is_tracing() or torch.compiler.is_compiling()
