"""Jobs in the workers of a sweep's own process, as joblib's: they end when it does, with all they did saved."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path
from types import FrameType

from omegaconf import DictConfig

from camexp.files import display_path
from camexp.launching.processes import SIGNALS
from camexp.launching.signals import signal_name
from camexp.locks import lock_file
from camexp.reporting.comparison import job_folders
from camexp.run_files import IN_USE, STOPPING

log = logging.getLogger(__name__)


def stop_jobs_on_signals(config: DictConfig) -> None:
    """In the process of a sweep by joblib: a signal stops its jobs, then itself; a second Ctrl-C itself at once.

    The workers are not signalled: an idle one would die of it, upon which joblib kills the others with their jobs.
    """
    sweep = Path(str(config.hydra.sweep.dir))
    (sweep / STOPPING).unlink(missing_ok=True)  # of one that was stopped before
    if "joblib" not in config.hydra.launcher._target_.lower():
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        (sweep / STOPPING).touch()
        for job in job_folders(sweep):
            with suppress(OSError):  # a file system without locks
                lock_file(job / IN_USE, shared=False, wait=True).close()
        log.info(stopped(signum, sweep))
        raise SystemExit(128 + signum)

    for one in SIGNALS:
        if signal.getsignal(one) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(one, stop)


def is_stopping(sweep: Path) -> bool:
    """In a worker: whether the sweep is about to end, or has been killed, by which its workers have another parent."""
    parent = multiprocessing.parent_process()
    return (parent is not None and os.getppid() != parent.pid) or (sweep / STOPPING).exists()


def stopped(signum: int, sweep: Path) -> str:
    """What is said at the end of a sweep that a signal stopped."""
    return (
        f"sweep stopped by {signal_name(signum)}: the same command with sweep.resume={display_path(sweep)} resumes it"
    )
