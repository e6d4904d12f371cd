"""An Optuna study in a file, and the trial of it that a process works on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hydra.utils import instantiate

from camexp.errors import UserError
from camexp.run_files import STUDY

NAME = "camexp"
FOLDER = "folder"  # of a trial's job, among its attributes
TRIAL = "CAMEXP_TRIAL"  # in a job's environment: the study's file, the trial's number, the pruner


def import_optuna() -> Any:
    """The package.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError(
            "hydra/sweeper=optuna needs a package that is not installed: pip install 'camexp[optuna]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def open_study(folder: Path, direction: str = "maximize", pruner: Any = None) -> Any:
    """The study in a sweep's folder, a new one where there is none.

    A journal instead of a database: many processes append to it, and a killed one leaves no half of an entry.
    """
    optuna = import_optuna()
    folder.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(
        storage=_storage(folder / STUDY),
        study_name=NAME,
        direction=direction,
        pruner=pruner or optuna.pruners.NopPruner(),
        load_if_exists=True,
    )


def current_trial() -> Any | None:
    """The trial that this process works on; ``None`` outside a sweep by Optuna."""
    if TRIAL not in os.environ:
        return None
    optuna = import_optuna()
    path, number, pruner = json.loads(os.environ[TRIAL])
    study = optuna.load_study(
        study_name=NAME,
        storage=_storage(Path(path)),
        pruner=instantiate(pruner) if pruner else optuna.pruners.NopPruner(),
    )
    return optuna.trial.Trial(study, study.trials[number]._trial_id)


def _storage(path: Path) -> Any:
    storages = import_optuna().storages
    return storages.JournalStorage(storages.journal.JournalFileBackend(str(path)))
