"""How a run ended: summary.json, a table, and what to do next."""

from __future__ import annotations

import platform
import shlex
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from camexp import __version__
from camexp.reporting.progress import duration


@lru_cache
def versions() -> dict[str, str]:
    """Of what the figures depend on."""
    from importlib.metadata import version

    names = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "pillow")
    return {
        "camexp": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


@lru_cache
def git_commit(folder: Path) -> str | None:
    """The commit checked out in a folder, marked where files differ from it; ``None`` outside git."""
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
            capture_output=True, text=True, timeout=10, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit or None


def device_name(device: torch.device) -> str:
    """A GPU by its name, a CPU by its architecture and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def summary_table(summary: dict[str, Any]) -> str:
    """The end of a run in a few lines.

    >>> print(summary_table({"final": {"val/accuracy": 0.975, "val/loss": 0.1}, "best": {"val/accuracy": 0.98,
    ...     "step": 90}, "images_per_second": 123.4, "seconds": 75.0, "run_folder": "outputs/train/a"}))
      validation accuracy   0.9750   (best 0.9800 at step 90)
      validation loss       0.1000
      training speed        123.4 images/s
      time                  1 min 15 s
      run folder            outputs/train/a
    """
    final, best = summary["final"], summary["best"]
    rows = [
        (
            "validation accuracy",
            f"{final['val/accuracy']:.4f}   (best {best['val/accuracy']:.4f} at step {best['step']})",
        ),
        ("validation loss", f"{final['val/loss']:.4f}"),
        ("training speed", f"{summary['images_per_second']:.1f} images/s"),
        ("time", duration(summary["seconds"])),
        ("run folder", summary["run_folder"]),
    ]
    if "val/pointing" in final:
        rows.insert(2, ("map's peak on object", f"{final['val/pointing']:.4f}   of the validation images"))
    return "\n".join(f"  {name:<22}{value}" for name, value in rows)


def next_command(predict: str, checkpoint: Path, image: Path | None) -> str:
    """The command line that shows where the network looks, ready to paste.

    >>> next_command("python predict.py", Path("runs/best.ckpt"), Path("my pictures/a.jpg"))
    "python predict.py ckpt=runs/best.ckpt 'input=my pictures/a.jpg'"
    """
    of = "" if image is None else f" {shlex.quote(f'input={image}')}"
    return f"{predict} {shlex.quote(f'ckpt={checkpoint}')}{of}"
