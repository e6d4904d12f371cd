"""Work that one process does while the others that want it wait."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from camexp.files import lock

log = logging.getLogger(__name__)


@contextmanager
def exclusive(path: Path, doing: str) -> Iterator[bool]:
    """One process at a time is in the block; one that is killed there lets the next one in.

    Where the file system knows no locks, or takes no files, all go in at once: what is done in the block must be sound
    then too.

    Args:
        path: of the lock's file, which is there only while someone is in the block.
        doing: what another process does, for the line that tells what is waited for.

    Yields:
        Whether another process was in the block first.

    >>> import tempfile
    >>> with exclusive(Path(tempfile.mkdtemp(), "a.lock"), "drawing") as waited:
    ...     waited
    False
    """
    held, waited = _acquire(path, doing)
    try:
        yield waited
    finally:
        if held is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # before it is let go: who waits for it sees that it is another's now
            held.close()


def is_at(held: BinaryIO, path: Path) -> bool:
    """Whether an open file still is the one of that name."""
    try:
        return os.path.samestat(os.fstat(held.fileno()), path.stat())
    except OSError:
        return False


def _acquire(path: Path, doing: str) -> tuple[BinaryIO | None, bool]:
    waited = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                held = lock(path, shared=False)
            except BlockingIOError:
                if not waited:
                    log.info(f"waiting for another process that is {doing}")
                waited = True
                held = lock(path, shared=False, wait=True)
        except OSError:
            return None, waited
        if is_at(held, path):
            return held, waited
        held.close()
