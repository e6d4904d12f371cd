"""The user's own configurations: ``conf/`` in the working folder, whose files come before the package's."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "CAMEXP_CONF"  # in the environment: another folder than conf/; empty: none
PACKAGED = Path(__file__).resolve().parents[1] / "conf"


def own_folder() -> Path | None:
    """The user's own folder, absolute; ``None`` where there is none; a clone's is the package's own."""
    name = os.environ.get(FOLDER, "conf")
    folder = Path(name).absolute()
    return folder if name and folder.is_dir() and folder.resolve() != PACKAGED else None


def replaced_files() -> list[str]:
    """The user's own files that are taken in place of the package's of the same name, as they see them."""
    own = own_folder()
    packaged = sorted(path.relative_to(PACKAGED) for path in PACKAGED.rglob("*.yaml"))
    return [] if own is None else [os.path.relpath(own / path) for path in packaged if (own / path).is_file()]


def blame() -> str:
    """For the end of a sentence about configurations: which of them are not the package's; empty if all are."""
    taken = replaced_files()
    verb = "stands" if len(taken) == 1 else "stand"
    files = ", ".join(taken[:4]) + f" … ({len(taken)} in all)" * (len(taken) > 4)
    return f" ({files} {verb} in for camexp's own here; with {FOLDER}= in the environment none does)" if taken else ""
