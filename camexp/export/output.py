"""The folder of an export: whole, or not there at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camexp.errors import UserError
from camexp.files import temporary_name


def require_writable(folder: Path, overwrite: bool) -> None:
    """
    Raises:
        UserError: the folder is a file, or holds something and may not be written over.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"output={folder} is a file: give a folder")
    if not overwrite and folder.is_dir() and (held := sorted(folder.iterdir())):
        names = ", ".join(path.name for path in held[:3]) + " …" * (len(held) > 3)
        raise UserError(
            f"output={folder} is not empty ({names}): give another folder, or overwrite=true to write over files of "
            "the same names"
        )


@contextmanager
def staged(folder: Path, overwrite: bool = False) -> Iterator[Path]:
    """A folder beside ``folder`` whose files move into it when the block ends well, and go when it does not.

    Files of ``folder`` that have other names stay.

    Raises:
        UserError: see :func:`require_writable`.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp(), "exported")
    >>> with staged(folder) as temporary:
    ...     _ = (temporary / "a.txt").write_text("whole")
    >>> [path.name for path in folder.parent.rglob("*")]
    ['exported', 'a.txt']
    """
    folder = folder.absolute()
    require_writable(folder, overwrite)
    temporary = folder.with_name(temporary_name(folder.name))
    temporary.mkdir(parents=True)
    try:
        yield temporary
        require_writable(folder, overwrite)  # another export may have been quicker
        if folder.is_dir() and any(folder.iterdir()):
            for file in sorted(temporary.iterdir()):
                file.replace(folder / file.name)
        else:
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
