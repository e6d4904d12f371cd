"""Precision of the forward pass: what ``precision=auto`` means on a device."""

from __future__ import annotations

import contextlib
import logging
import os
from contextlib import AbstractContextManager
from typing import Any

import torch

log = logging.getLogger(__name__)


# Lightning's own
_SYNONYMS = {"32": "32-true", "64": "64-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
NATIVE = "CAMEXP_NATIVE_BF16"  # in the environment: yes or no, so that any machine can test both meanings of auto


def has_native_bf16(device: str | torch.device) -> bool:
    """Whether the device multiplies bfloat16 itself, rather than by way of float32, which is slower.

    Args:
        device: ``cpu`` or a GPU; a CPU may be overruled by ``CAMEXP_NATIVE_BF16=yes`` or ``no`` in the environment.

    >>> has_native_bf16("meta")
    False
    """
    kind = torch.device(device).type
    if kind == "cpu" and os.environ.get(NATIVE) in ("yes", "no"):
        return os.environ[NATIVE] == "yes"
    if kind == "cuda":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    # torch 2.6 knows avx512_bf16 and AMX; a processor it cannot ask counts as one without
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported") if kind == "cpu" else ()
    return any(getattr(torch.cpu, name, bool)() for name in asked)


def resolve_precision(precision: str | int, device: str | torch.device, trains: bool = False) -> str:
    """What is computed in, by Lightning's full name: ``auto`` resolved for this device, synonyms written out.

    Float16 is no choice for mixed precision on a CPU: as in Lightning, ``16-mixed`` means ``bf16-mixed`` there.

    Args:
        precision: ``auto`` or one of Lightning's names.
        device: ``cpu``, ``cuda``, ``mps`` …
        trains: whether layers of the trunk train. On a CPU ``auto`` is float32 then: bfloat16 was faster, but costs
            accuracy in training from scratch.

    >>> resolve_precision("auto", "mps"), resolve_precision("bf16", "cpu"), resolve_precision(32, "cpu")
    ('32-true', 'bf16-mixed', '32-true')
    """
    if precision == "auto":
        exact = trains and torch.device(device).type == "cpu"
        return "bf16-mixed" if has_native_bf16(device) and not exact else "32-true"
    name = _SYNONYMS.get(str(precision), str(precision))
    if name == "16-mixed" and torch.device(device).type == "cpu":
        log.info(f"precision={precision} is for GPUs: on the CPU bf16-mixed is taken instead")
        return "bf16-mixed"
    return name


def parameter_dtype(precision: str) -> torch.dtype:
    """In what the weights are kept at a (resolved) precision.

    >>> parameter_dtype("bf16-true"), parameter_dtype("bf16-mixed")
    (torch.bfloat16, torch.float32)
    """
    return _TRUE.get(precision, torch.float32)


def autocast(precision: str, device: str | torch.device) -> AbstractContextManager[Any]:
    """The context in which a forward pass runs at a (resolved) precision.

    >>> with autocast("bf16-mixed", "cpu"):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    torch.bfloat16
    """
    if precision not in _MIXED:
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, _MIXED[precision])
