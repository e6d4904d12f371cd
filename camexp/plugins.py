"""Parts that other packages bring: entry points of the groups ``camexp.trunks`` and ``camexp.datasets``."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from camexp.errors import UserError, reason

TRUNKS, DATASETS = "camexp.trunks", "camexp.datasets"


def plugin_names(group: str) -> list[str]:
    """The names that installed packages have entered in a group, sorted; nothing is imported.

    >>> plugin_names("camexp.nothing")
    []
    """
    return sorted({entry.name for entry in entry_points(group=group)})


def load_plugin(group: str, name: str) -> Any:
    """What an entry point names, imported now.

    Raises:
        UserError: no such entry, two of that name, or one that cannot be imported; it names the package.
    """
    entries = list(entry_points(group=group, name=name))
    owners = sorted({plugin_owner(entry) for entry in entries})
    if not entries:
        raise UserError(f"no package that is installed here brings {name} as one of {group}: install the one that does")
    if len(owners) > 1:
        raise UserError(f"{name} is one of {group} in {' and in '.join(owners)}: uninstall one of them")
    return import_entry(entries[0])


def import_entry(entry: EntryPoint) -> Any:
    """What it names.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return entry.load()
    except Exception as error:  # a package of someone else's may fail in any way
        raise UserError(
            f"{plugin_owner(entry)} brings {entry.name} as one of {entry.group}, but its {entry.value} could not be "
            f"imported ({type(error).__name__}: {reason(error)}): update or uninstall that package"
        ) from error


def plugin_owner(entry: EntryPoint) -> str:
    """The package that an entry point belongs to, with its version."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown package"
