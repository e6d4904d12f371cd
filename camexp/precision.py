"""Number formats of the forward pass: what ``precision=auto`` means on a device."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch

# Lightning's names; the short ones are its own synonyms
PRECISIONS = ("auto", "32-true", "32", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "64", "bf16", "16")
_MIXED = {"bf16-mixed": torch.bfloat16, "bf16": torch.bfloat16, "16-mixed": torch.float16, "16": torch.float16}


def has_native_bf16(device: str | torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself, rather than by way of float32, which is slower.

    Args:
        device: ``cpu`` or a GPU.

    >>> has_native_bf16("meta")
    False
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    # torch 2.6 knows avx512_bf16 and AMX; a processor it cannot ask counts as one without
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if kind == "cpu" else ()
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def resolve_precision(precision: str | int, device: str | torch.device) -> str:
    """``auto`` as Lightning's name for this device; any other value as it is.

    Args:
        precision: one of ``PRECISIONS``.
        device: ``cpu``, ``cuda``, ``mps`` …

    >>> resolve_precision("auto", "mps"), resolve_precision("bf16-mixed", "cpu"), resolve_precision(32, "cpu")
    ('32-true', 'bf16-mixed', '32')
    """
    if precision != "auto":
        return str(precision)
    return "bf16-mixed" if has_native_bf16(device) else "32-true"


def autocast(precision: str, device: str | torch.device) -> AbstractContextManager[Any]:
    """The context in which a forward pass runs at a (resolved) precision.

    >>> with autocast("bf16-mixed", "cpu"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if precision not in _MIXED:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, _MIXED[precision])
