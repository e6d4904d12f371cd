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

_PRESET = re.compile(r"experiment=([\w.-]+)")
COMMANDS = ("predict", "evaluate", "explore")


def preset_arguments(command: str, arguments: Sequence[str]) -> list[str]:
    """``experiment=localise`` as overrides of the ``cam`` group, before all others: what the command line says wins.

    Args:
        command: ``train`` composes presets itself, whole.
        arguments: of the command line.

    Raises:
        UserError: no such preset, or one that says nothing of maps.

    >>> preset_arguments("predict", ["input=a.jpg", "cam=cam", "experiment=localise"])
    ['cam.affinity=auto', 'input=a.jpg', 'cam=cam']
    """
    if command not in COMMANDS:
        return list(arguments)
    presets = [match[1] for one in arguments if (match := _PRESET.fullmatch(one))]
    own = [one for one in arguments if not _PRESET.fullmatch(one)]
    chosen = any(one.startswith("cam=") for one in own)  # Hydra takes one choice of a group
    return [*(one for name in presets for one in _maps_of(name) if not (chosen and one.startswith("cam="))), *own]


def _maps_of(name: str) -> list[str]:
    if name == "null":
        return []
    presets = {one.stem: one for folder in _folders() for one in sorted(folder.glob("*.yaml"))}
    if name not in presets:
        raise UserError(f"experiment={name} is not a preset: {nearest(name, presets)}")
    content: Any = OmegaConf.to_container(OmegaConf.load(presets[name])) or {}
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
