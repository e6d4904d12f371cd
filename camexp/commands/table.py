"""One console command for all: ``camexp train``, ``camexp predict`` … and what each is found by."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from camexp import __version__
from camexp.errors import nearest


class Command(NamedTuple):
    """One of the commands.

    Attributes:
        target: ``module:function``, imported when it is asked for; the function takes the arguments and may return an
            exit code.
        about: a few words.
    """

    target: str
    about: str

    def load(self) -> Callable[[Sequence[str]], int | None]:
        """The function that runs it."""
        module, _, name = self.target.partition(":")
        function: Callable[[Sequence[str]], int | None] = getattr(importlib.import_module(module), name)
        return function


COMMANDS = {
    "train": Command("camexp.commands.train:main", "train a CAM network and watch its maps sharpen"),
    "predict": Command("camexp.commands.predict:main", "maps of any image and any class"),
    "evaluate": Command("camexp.commands.evaluate:main", "measure how well maps localise"),
    "explore": Command("camexp.commands.explore:main", "drop images into a page and see where the network looks"),
    "export": Command("camexp.commands.export:main", "a network for other programs: ONNX, torch.export, safetensors"),
    "gather": Command("camexp.cli.gather:main", "the shards of a prediction or an evaluation as one"),
    "compare": Command("camexp.cli.compare:main", "the runs of a sweep side by side"),
    "features": Command("camexp.cli.features:main", "list and clear the stored features"),
    "doctor": Command("camexp.commands.doctor:main", "what is installed here, and what camexp would choose"),
}


def usage() -> str:
    """What ``camexp --help`` prints."""
    rows = "\n".join(f"  camexp {name:<10} {command.about}" for name, command in COMMANDS.items())
    return (
        "camexp: class activation mapping experiments\n\n"
        f"{rows}\n\n"
        "camexp COMMAND --help describes a command and its options; camexp --version prints the version.\n"
        'Shell completion: eval "$(camexp-train -sc install=bash)", then camexp-train …\n'
        "(so too camexp-predict, -evaluate, -explore and -export; camexp with a space completes nothing).\n"
        "Without arguments camexp train trains on an embedded data set, in three minutes on two cores."
    )


def main(arguments: Sequence[str] | None = None) -> int | None:
    """``camexp COMMAND ARGUMENTS…``; returns the exit code.

    >>> main(["--version"])
    camexp ...
    0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    name, rest = given[0] if given else "", given[1:]
    if name in ("", "-h", "--help", "help"):
        print(usage())
        return 0
    if name in ("-V", "--version", "version"):
        print(f"camexp {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"error: {name} is not a command of camexp: {nearest(name, COMMANDS)} (camexp --help)", file=sys.stderr)
        return 1
    return COMMANDS[name].load()(rest)
