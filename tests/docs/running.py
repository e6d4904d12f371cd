"""Commands of the documentation, run for real with a tiny network and a few steps."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from camexp.commands import main
from tests.docs.blocks import Command

WIDTH = 1 / 16
SWEEP = "outputs/sweeps/DATE/TIME"  # as the pages call it


def run(command: Command, folder: Path) -> int:
    """Its exit code; it stands in ``folder``, which is the current one."""
    arguments = [command.name, *small(command)]
    if "-m" in arguments:  # its jobs are processes of their own, which are told what this one was called by
        return subprocess.run([sys.executable, "-m", "camexp", *arguments], cwd=folder, check=False).returncode
    before = list(sys.argv)
    try:
        return int(main(arguments) or 0)
    except SystemExit as stop:
        return int(stop.code or 0) if not isinstance(stop.code, str) else 1
    finally:
        sys.argv[:] = before
        gc.collect()  # what a run holds (a store of features), it lets go when its process ends


def small(command: Command) -> list[str]:
    """The arguments of a command with what makes it small: only what it leaves open, and the device.

    >>> small(Command("predict", ("ckpt=a", "input=b", "gpus=1")))
    ['ckpt=a', 'input=b', 'num_workers=0', 'gpus=0']
    """
    if command.name not in ("train", "predict", "evaluate") or {"--help", "--cfg"} & set(command.arguments):
        return list(command.arguments)
    device = "trainer.gpus" if command.name == "train" else "gpus"
    given = [one for one in command.arguments if not one.startswith((f"{device}=", "transform.size="))]
    keys = {one.lstrip("+").partition("=")[0]: one.partition("=")[2] for one in given}
    defaults = {"num_workers": "0"} | (_small_training(keys) if command.name == "train" else {})
    if "-m" in given and "sweep.resume" not in keys:
        defaults["hydra.sweep.dir"] = SWEEP
    return [*given, *(f"{key}={value}" for key, value in defaults.items() if key not in keys), f"{device}=0"]


def _small_training(keys: dict[str, str]) -> dict[str, str]:
    """Defaults of a tiny run that fit the options given."""
    values = {"trainer.max_steps": "2", "batch_size": "8", "transform.size": "32"}
    if keys.get("model") not in ("timm", "torchvision"):
        values["model.width"] = str(WIDTH)
    if "model.head" not in keys:
        values |= {"model.head.channels": "8", "model.head.init_std": "0.5"}
    if "model.freeze" in keys:
        values["model.weights"] = "vgg16.safetensors"
    elif "model.weights" not in keys:
        values |= {"model.weights": "null", "model.freeze": "none"}
    if not keys.keys() & {"dataset", "experiment"}:  # shapes
        values |= {"dataset.per_class": "4", "dataset.size": "64"}
    return values
