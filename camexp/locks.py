"""Locks on files, among any processes; the system lets go of them when a process ends, however it ends.

Not filelock: a store in use is locked by many at once (shared), a lock's file goes away with its last holder, and who
waits is told for what.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

log = logging.getLogger(__name__)


def lock_file(path: Path, shared: bool, wait: bool = False) -> BinaryIO:
    """An open file under a lock that ends with the process.

    Args:
        path: made if it is absent.
        shared: others may share it; else it is for one alone.
        wait: until others have let go of it.

    Raises:
        BlockingIOError: another process holds it, and nobody waits.
        OSError: it cannot be opened, or the file system knows no locks.
    """
    file = path.open("ab")
    try:
        import fcntl
    except ImportError:  # Windows: no locks, and nothing that is open can be removed there
        return file
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BaseException:  # Ctrl-C while waiting, too
        file.close()
        raise
    return file


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
                held = lock_file(path, shared=False)
            except BlockingIOError:
                if not waited:
                    log.info(f"waiting for another process that is {doing}")
                waited = True
                held = lock_file(path, shared=False, wait=True)
        except OSError:
            return None, waited
        if is_at(held, path):
            return held, waited
        held.close()
