"""``experiment=NAME`` for the commands that train nothing: the maps that a preset recommends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camexp.config import flat
from camexp.config.own import PACKAGED, own_folder
from camexp.errors import UserError, nearest

COMMANDS = ("predict", "evaluate", "explore")


def preset_arguments(command: str, arguments: Sequence[str]) -> list[str]:
    """``experiment=localise`` as overrides of the ``cam`` group; those of the command line win, and so stay behind.

    Args:
        command: ``train`` composes presets itself, whole.
        arguments: of the command line.

    Raises:
        UserError: no such preset, or one that says nothing of maps.

    >>> preset_arguments("predict", ["experiment=localise", "input=a.jpg"])
    ['cam=pc1', 'cam.affinity=auto', 'input=a.jpg']
    """
    if command not in COMMANDS:
        return list(arguments)
    result: list[str] = []
    for argument in arguments:
        match = re.fullmatch(r"experiment=([\w.-]+)", argument)
        result += [argument] if match is None else _maps_of(match[1])
    chosen = [one for one in result if re.match(r"cam=", one)]
    return [one for one in result if one not in chosen[:-1]]  # a group is chosen once


def _maps_of(name: str) -> list[str]:
    if name == "null":
        return []
    presets = {one.stem: one for folder in _folders() for one in sorted(folder.glob("*.yaml"))}
    if name not in presets:
        raise UserError(f"experiment={name} is not a preset: {nearest(name, presets)}")
    content: Any = OmegaConf.to_container(OmegaConf.load(presets[name]))
    choices = [one["override /cam"] for one in content.get("defaults", []) if "override /cam" in one]
    options = [f"cam.{key}={value}" for key, value in flat(content.get("cam", {})).items()]
    if not choices and not options:
        raise UserError(
            f"experiment={name} recommends no maps, and nothing is trained here: leave it out, or take one that does, "
            "as experiment=localise"
        )
    return [*(f"cam={choice}" for choice in choices), *options]


def _folders() -> list[Path]:
    """The user's own last: they hide shipped ones of the same name."""
    own = own_folder()
    return [PACKAGED / "experiment", *([] if own is None else [Path(own) / "experiment"])]
