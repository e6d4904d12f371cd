"""The folder of a run, sweep or prediction: chosen and locked before anything is written into it."""

from __future__ import annotations

import atexit
import os
from pathlib import Path
from typing import Any, BinaryIO

from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from camexp.errors import UserError
from camexp.launching.overrides import quoted
from camexp.launching.ranks import CHILD, is_follower, nodes, shared_run_folder
from camexp.launching.shards import Shard
from camexp.locks import lock_file
from camexp.reporting.comparison import job_folders
from camexp.run_files import CAMS, CHECKPOINTS, IN_USE, METRICS

TRACES = (CHECKPOINTS, METRICS, CAMS)
_held: dict[Path, BinaryIO] = {}


def traces(folder: Path) -> list[str]:
    """What in a folder shows that a training run was there.

    >>> traces(Path("/nowhere"))
    []
    """
    return [name for name in TRACES if (folder / name).exists()]


def new_folder(folder: Path) -> Path:
    """A new folder of that name, or with -2, -3 … after it, if others were quicker.

    >>> import tempfile
    >>> first = new_folder(Path(tempfile.mkdtemp(), "12-00-00"))
    >>> new_folder(first).name
    '12-00-00-2'
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        path = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        try:
            path.mkdir()
            return path
        except FileExistsError:
            number += 1


def acquire(folder: Path, option: str) -> None:
    """Keep a folder to this process, until it ends or releases it.

    Raises:
        UserError: another process has it, or it cannot be written to.
    """
    if folder.absolute() in _held:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _held[folder.absolute()] = lock_file(folder / IN_USE, shared=False)
    except BlockingIOError:
        raise UserError(
            f"{option}={folder} is in use by another run: wait until that has ended, or give another folder"
        ) from None
    except OSError as error:
        if not os.access(folder, os.W_OK):
            raise UserError(
                f"{option}={folder} cannot be written to ({error.strerror or error}): give another folder"
            ) from error
        # a file system without locks: two runs at once would not be noticed there


def release(folder: Path) -> None:
    """Leave a folder to others."""
    held = _held.pop(folder.absolute(), None)
    if held is not None:
        held.close()


@atexit.register
def _release_all() -> None:
    for folder in list(_held):
        release(folder)


if hasattr(os, "register_at_fork"):
    # A process that reads images may outlive a killed run by seconds: the lock must not live on in it.
    os.register_at_fork(after_in_child=_release_all)


def prepare_run_folder(config: DictConfig, option: str) -> None:
    """Choose and claim a run's folder, before Hydra writes its files there.

    Args:
        config: the composed one, which is told the folder.
        option: the folder's name on the command line: ``hydra.run.dir``, or ``output``.

    Raises:
        UserError: the folder holds a run already, another one uses it, or it cannot be written to.
    """
    folder = Path(str(config.hydra.run.dir))
    given = _given(config, option)
    if config.get("shard") is not None:
        if not given:
            raise UserError(f"shard={config.shard} needs output=DIR, the same folder for all shards")
        folder = Shard(int(config.shard), int(config.shards)).folder(folder)
    trains = option == "hydra.run.dir"
    agreed = None if given else shared_run_folder(folder, trains and config.get("resume") == "auto")
    count, node = nodes() if trains and CHILD not in os.environ else (1, 0)
    if count > 1 and not given and agreed is None:
        raise UserError(f"NNODES={count}: all nodes need one folder: give the same hydra.run.dir=… on each of them")
    if not is_follower() and not node:  # of several processes the first one settles it
        if not given and agreed is None:
            folder = new_folder(folder)
        acquire(agreed or folder, option)
        if trains:
            _require_new(agreed or folder, config)
    with read_write(config), open_dict(config):
        if option == "output" and config.get("shard") is None:
            config.output = str(agreed or folder)
        config.hydra.run.dir = str(agreed or folder)


def prepare_sweep_folder(config: DictConfig, option: str) -> None:
    """Choose and claim a sweep's folder; see :func:`prepare_run_folder`."""
    if CHILD in os.environ:  # it would start this one again, without end
        raise UserError(
            f"hydra.mode=MULTIRUN in a process that camexp started as one {os.environ[CHILD]}: "
            "expected hydra.mode=RUN; leave -m and hydra.mode out there"
        )
    folder = Path(str(config.hydra.sweep.dir))
    if not _given(config, "hydra.sweep.dir"):
        folder = new_folder(folder)
    acquire(folder, "hydra.sweep.dir")
    jobs = sorted(path.relative_to(folder).as_posix() for path in job_folders(folder))
    if jobs and option == "hydra.run.dir" and config.get("resume") != "auto":
        raise UserError(
            f"hydra.sweep.dir={folder} holds a sweep already (jobs {', '.join(jobs[:5])}"
            f"{' …' * (len(jobs) > 5)}): sweep.resume={folder} resumes it; or give another folder"
        )
    with read_write(config), open_dict(config):
        config.hydra.sweep.dir = str(folder)
        # each job composes its configuration anew
        config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")


def _require_new(folder: Path, config: DictConfig) -> None:
    held = traces(folder)
    if held and config.get("resume") != "auto":
        raise UserError(
            f"hydra.run.dir={folder} holds a run already ({', '.join(held)}): "
            "resume=auto resumes it; or give another folder, or remove it"
        )


def _given(config: DictConfig, option: str) -> bool:
    """Whether the user has named a folder: on the command line, or in a configuration file, where a name with the
    time in it, as the default has, is another one at each start."""
    if option.startswith("hydra."):
        hydra: Any = OmegaConf.to_container(config.hydra[option.split(".")[1]], resolve=False)
        if "${now:" not in str(hydra["dir"]):
            return True
    # as they are written: an override may name what is known of a job only
    written: Any = OmegaConf.to_container(config.hydra.overrides, resolve=False)
    overrides = [*written["hydra"], *written["task"]]
    return any(one.lstrip("+").partition("=")[0] == option for one in overrides)
