"""What the machine offers: GPUs, as arguments of Lightning's Trainer, and cores for data-loader workers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from camexp.errors import UserError

Gpus = int | Sequence[int] | None


def select_devices(
    gpus: Gpus, cpu_processes: int = 1, available: int | None = None, option: str = "trainer.gpus"
) -> dict[str, Any]:
    """``accelerator``, ``devices`` and ``strategy`` for Lightning's Trainer.

    Args:
        gpus: validated already: ``None`` takes every GPU, or else the CPU, ``0`` the CPU, a number that many GPUs, a
            list those GPUs.
        cpu_processes: how many processes share the work on a CPU.
        available: how many GPUs there are; default: ask.
        option: what the user called it, for the error's sentence.

    Raises:
        UserError: more GPUs than there are.

    >>> select_devices(None, available=0), select_devices(1, available=4)
    ({'accelerator': 'cpu', 'devices': 1, 'strategy': 'auto'}, {'accelerator': 'gpu', 'devices': 1, 'strategy': 'auto'})
    >>> select_devices([0, 2], available=4)
    {'accelerator': 'gpu', 'devices': [0, 2], 'strategy': 'ddp'}
    """
    import torch  # here: a sweep's own process, which only counts cores, must not wait for it

    there = torch.cuda.device_count() if available is None else available
    if gpus is None:
        if there == 0 and available is None and torch.backends.mps.is_available():
            return {"accelerator": "mps", "devices": 1, "strategy": "auto"}
        gpus = there
    wanted = gpus if isinstance(gpus, int) else len(gpus)
    highest = gpus - 1 if isinstance(gpus, int) else max(gpus)
    if highest >= there:
        raise UserError(
            f"{option}={list(gpus) if not isinstance(gpus, int) else gpus} but this machine has "
            f"{there or 'no'} GPU{'s' * (there != 1)} that torch can use: "
            f"take {option}=0 for the CPU, or {option}=null for whatever is there"
        )
    if wanted == 0:
        return {"accelerator": "cpu", "devices": cpu_processes, "strategy": "ddp" if cpu_processes > 1 else "auto"}
    devices = gpus if isinstance(gpus, int) else list(gpus)
    return {"accelerator": "gpu", "devices": devices, "strategy": "ddp" if wanted > 1 else "auto"}


def select_device(gpus: Gpus) -> str:
    """The one device of a script that takes one, in torch's words.

    Args:
        gpus: ``None``: a GPU if there is one; ``0``: the CPU; ``1`` or a list of one: that GPU.

    Raises:
        UserError: several, or one that is not there.

    >>> select_device(0)
    'cpu'
    """
    devices = select_devices(gpus, option="gpus")
    if devices["strategy"] == "ddp" and gpus is not None:
        raise UserError(f"gpus={gpus}: one GPU is used here, take gpus=1")
    number = devices["devices"][0] if isinstance(devices["devices"], list) else 0
    return f"cuda:{number}" if devices["accelerator"] == "gpu" else str(devices["accelerator"])


def device_type(devices: Mapping[str, Any]) -> str:
    """Lightning's word for a device in torch's.

    >>> device_type({"accelerator": "gpu"})
    'cuda'
    """
    return "cuda" if devices["accelerator"] == "gpu" else str(devices["accelerator"])


def world_size(devices: dict[str, Any], num_nodes: int) -> int:
    """How many processes train together."""
    count = devices["devices"]
    return num_nodes * (count if isinstance(count, int) else len(count))


def default_workers(world_size: int = 1) -> int:
    """Data-loader workers for each training process: a GPU waits for many, a CPU trains on its cores itself."""
    import torch

    cores = available_cores()
    return min(8, max(1, cores // world_size - 1)) if torch.cuda.is_available() else min(2, cores // 2)


def available_cores() -> int:
    """How many of the machine's cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
