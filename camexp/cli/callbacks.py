"""Hydra's callbacks."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from camexp.cli.errors import error_message, fail
from camexp.config.own import own_folder, replaced_files
from camexp.errors import UserError
from camexp.files import display_path
from camexp.launching.job_folders import require_own_folders
from camexp.launching.ranks import CHILD
from camexp.launching.run_folder import prepare_run_folder, prepare_sweep_folder, release
from camexp.launching.shards import SHARDS
from camexp.launching.sweep import report
from camexp.launching.workers import stop_jobs_on_signals

log = logging.getLogger(__name__)


class RunFolder(Callback):
    """Settles the folder before Hydra writes its files there, and tells how a sweep ended.

    Args:
        option: the folder's name on the command line: ``hydra.run.dir``, or ``output``.
    """

    def __init__(self, option: str = "hydra.run.dir"):
        self.option = option

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _or_exit(require_named, config.hydra.run.dir, self.option)
        _or_exit(prepare_run_folder, config, self.option)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _or_exit(require_named, config.hydra.sweep.dir, "hydra.sweep.dir")
        _or_exit(prepare_sweep_folder, config, self.option)
        if self.option == "hydra.run.dir":
            _or_exit(require_own_folders, config)
            _or_exit(stop_jobs_on_signals, config)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if (own := own_folder()) is not None:
            files = replaced_files()
            instead = f", and {', '.join(files)} in place of camexp's" if files else ""
            started = CHILD in os.environ or str(OmegaConf.select(config, "hydra.job.num") or 0) != "0"
            log.log(
                logging.DEBUG if started else logging.INFO,
                f"configs: own ones in {display_path(own)} come first{instead}",
            )

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        release(Path(str(config.hydra.run.dir)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(str(config.hydra.sweep.dir))
        release(folder)
        if self.option == "hydra.run.dir":
            _or_exit(report, folder)
        elif (folder / SHARDS).is_dir():
            from camexp.cli.gather import gather_and_tell  # takes seconds to import

            _or_exit(gather_and_tell, folder)


def require_named(folder: str, option: str) -> None:
    """Before Hydra takes no name for the working folder.

    Raises:
        UserError: the folder has none, as of a shell's variable that is not set.
    """
    if not str(folder):
        raise UserError(f"{option}= is empty: give the path of a folder, {option}=DIR")


def _or_exit(function: Callable[..., None], *arguments: Any) -> None:
    """Hydra turns an exception in a callback into a warning; an error here must end the program."""
    try:
        function(*arguments)
    except Exception as error:
        fail(error_message(error), error)
