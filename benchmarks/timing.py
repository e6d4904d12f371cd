"""Two or more ways of doing one thing, timed in turn, with what was measured on."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camexp.models.convolution import Conv3x3


def time_in_turn(ways: Mapping[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
    """The median seconds of each way. They take turns, so that a slow minute of the machine hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:  # the first is for warming up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


def machine(device: str, *packages: str) -> dict[str, Any]:
    """What a figure is worth nothing without: device, versions, date."""
    if device == "cpu":
        about = Path("/proc/cpuinfo")
        lines = about.read_text().splitlines() if about.exists() else []
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
        where = f"{name}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    else:
        where = torch.cuda.get_device_name()
    from camexp.precision import has_native_bf16

    return {
        "device": where,
        "native_bf16": has_native_bf16(device),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", *packages)},
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    return parser


def as_published(network: nn.Module) -> nn.Module:
    """The network with PyTorch's convolutions, as other libraries compute it."""
    for layer in network.modules():
        if isinstance(layer, Conv3x3):
            layer.__class__ = nn.Conv2d
    return network


def publish(result: dict[str, Any], path: Path | None) -> None:
    """The figures as JSON, on the screen and in a file."""
    text = json.dumps(result, indent=2)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
        print(f"written to {path}", file=sys.stderr)
    else:
        print(text)
