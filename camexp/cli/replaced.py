"""Overrides that put something else where a group's choice or a section has to stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from camexp.config.own import PACKAGED, own_folder

# what is asked for with null elsewhere
NOTHING = {"callbacks": "none", "logger": "csv", "regularise": "none", "scheduler": "constant", "transform": "resize"}


def group_without_choice(arguments: Iterable[str]) -> str | None:
    """The sentence on the first override by which a group is to be null, a number or a truth value.

    >>> group_without_choice(["seed=1", "model=vgg11", "scheduler=null"])
    'scheduler=null is not a choice: give scheduler=constant for none, or give one of constant, cosine, stairs'
    """
    for argument in arguments:
        try:
            override = OverridesParser.create().parse_override(argument)
            value = override.value()
        except HydraException:
            continue
        group = override.key_or_group
        if (choices := _choices(group)) and not isinstance(value, (str, list)) and not override.is_sweep_override():
            way = f"give {group}={NOTHING[group]} for none" if group in NOTHING else "leave it out"
            return f"{argument} is not a choice: {way}, or give one of {', '.join(choices)}"
    return None


def section_replaced(override: str, options: Sequence[str]) -> str:
    """The sentence on an override that gives a section, all of whose keys are ``options``, another kind of value.

    >>> section_replaced("inspect=[]", ["seed", "inspect", "inspect.image", "inspect.label"])
    'inspect=[] replaces a whole section: set one of its keys, as inspect.image=…'
    """
    name = override.lstrip("+").partition("=")[0]
    key = next((one for one in options if one.startswith(f"{name}.")), f"{name}.KEY")
    return f"{override} replaces a whole section: set one of its keys, as {key}=…"


def _choices(group: str) -> list[str]:
    folders = [folder / group for folder in (own_folder(), PACKAGED) if folder is not None]
    return sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
