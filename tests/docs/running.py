"""Commands of the documentation, run for real with a tiny network and a few steps."""

from __future__ import annotations

import gc
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from camexp.cli import compare, features
from camexp.launching import program
from tests.conftest import ROOT, run_process
from tests.docs.blocks import Command
from tests.docs.composing import own_choices

WIDTH = 1 / 16
SWEEP = "outputs/sweeps/DATE/TIME"  # as the pages call it


def run(command: Command, folder: Path) -> int:
    """Its exit code; it stands in ``folder``, which is the current one."""
    for remembered in (program.PATH, program.COMMAND):  # of the command before, in this process
        os.environ.pop(remembered, None)
    if command.name == "compare":
        return compare.main(list(command.arguments))
    if command.name == "features":
        return features.main(list(command.arguments))
    arguments = [*small(command), *own_choices(folder)]
    if "-m" in arguments:
        finished = run_process(f"{command.name}.py", *arguments, cwd=folder)
        print(finished.out, finished.err)
        return finished.code
    return run_here(f"{command.name}.py", arguments)


def run_here(script: str, arguments: Sequence[str]) -> int:
    """A script in this process: seconds of imports are spared."""
    before = sys.argv
    sys.argv = [str(ROOT / script), *arguments]
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0) if not isinstance(stop.code, str) else 1
    finally:
        sys.argv = before
        gc.collect()  # what a run holds (a store of features), it lets go when its process ends
    return 0


def small(command: Command) -> list[str]:
    """The arguments of a command with what makes it small: only what it leaves open, and the device.

    >>> small(Command("predict", ("ckpt=a", "input=b", "gpus=1")))
    ['ckpt=a', 'input=b', 'num_workers=0', 'gpus=0']
    """
    if any(one in ("--help", "--cfg") for one in command.arguments):
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
