"""Hydra's callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from camexp.cli.errors import error_message, fail
from camexp.launching.run_folder import prepare_run_folder, prepare_sweep_folder, release
from camexp.launching.sweep import report


class RunFolder(Callback):
    """Settles the folder before Hydra writes its files there, and tells how a sweep ended.

    Args:
        option: the folder's name on the command line: ``hydra.run.dir``, or ``output``.
    """

    def __init__(self, option: str = "hydra.run.dir"):
        self.option = option

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        _or_exit(prepare_run_folder, config, self.option)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        _or_exit(prepare_sweep_folder, config, self.option)

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        release(Path(str(config.hydra.run.dir)))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        folder = Path(str(config.hydra.sweep.dir))
        release(folder)
        if self.option == "hydra.run.dir":
            _or_exit(report, folder)


def _or_exit(function: Callable[..., None], *arguments: Any) -> None:
    """Hydra turns an exception in a callback into a warning; an error here must end the program."""
    try:
        function(*arguments)
    except Exception as error:
        fail(error_message(error), error)
