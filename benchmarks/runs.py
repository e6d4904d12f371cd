"""camexp's commands as other benchmarks run them, and their figures over several seeds."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time


def call(command: str, *options: str) -> float:
    """One of camexp's commands; returns its seconds."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "camexp", command, *options], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"camexp {command} {' '.join(options)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return time.perf_counter() - started


def spread(values: list[float], factor: float = 100, digits: int = 1) -> str:
    """Mean, and lowest and highest.

    >>> spread([0.9, 0.92, 0.94])
    '92.0 (90.0–94.0)'
    """
    mean, low, high = (f"{factor * value:.{digits}f}" for value in (statistics.mean(values), min(values), max(values)))
    return f"{mean} ({low}–{high})"
