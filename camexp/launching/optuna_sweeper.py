"""Optuna proposes the jobs of a sweep; its study lies in the sweep's folder, so that the sweep can be resumed.

Not hydra-optuna-sweeper: it is bound to Optuna 2, and neither prunes nor resumes.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camexp.errors import UserError, reason
from camexp.launching.optuna_study import FOLDER, TRIAL, import_optuna, open_study
from camexp.launching.overrides import quoted
from camexp.run_files import STUDY, SUMMARY

log = logging.getLogger(__name__)


class OptunaSweeper(Sweeper):
    """``hydra/sweeper=optuna``: swept options are spaces to search instead of values to go through.

    ``optimizer.lr=tag(log,interval(1e-4,1e-2))``, ``batch_size=range(16,64,16)``, ``model=choice(vgg16,vgg19)``.
    When a sweep is resumed, finished trials count, and those that failed or were interrupted are resumed first,
    each in its own folder.

    Args:
        n_trials: in all.
        n_jobs: how many at once, for launchers that can.
        direction: of the best validation accuracy.
        sampler, pruner: Optuna's, to instantiate; without a pruner every trial runs to its end.
    """

    def __init__(
        self, n_trials: int, n_jobs: int = 1, direction: str = "maximize", sampler: Any = None, pruner: Any = None
    ):
        self.n_trials, self.n_jobs, self.direction = n_trials, n_jobs, direction
        self.sampler, self.pruner = sampler, pruner

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config = config
        self.folder = Path(str(config.hydra.sweep.dir))
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> float | None:
        self._require_numbers()
        state = import_optuna().trial.TrialState
        overrides = OverridesParser.create().parse_overrides(arguments)
        fixed = [str(one.input_line) for one in overrides if not one.is_sweep_override()]
        spaces = {one.get_key_element(): distribution(one) for one in overrides if one.is_sweep_override()}
        if not spaces:
            raise UserError(
                "hydra/sweeper=optuna: no option is given a space to search: "
                "add one, as optimizer.lr=tag(log,interval(1e-4,1e-2)) or model=choice(vgg16,vgg19)"
            )
        study = open_study(self.folder, self.direction, pruner=instantiate(self.pruner))
        study.sampler = self._sampler(len(study.trials))
        requeue_trials(study)
        done = sum(trial.state in (state.COMPLETE, state.PRUNED) for trial in study.trials)
        log.info(f"optuna: {done} of {self.n_trials} trials are done; the study is {self.folder / STUDY}")
        for start in range(done, self.n_trials, self.n_jobs):
            count = min(self.n_jobs, self.n_trials - start)
            self._launch(study, [study.ask(fixed_distributions=spaces) for _ in range(count)], fixed)
        complete = [trial for trial in study.trials if trial.state == state.COMPLETE]
        if not complete:
            return None
        best = study.best_trial
        log.info(f"best of {len(complete)} complete trials: {best.number} with {best.value:.4f}, {best.params}")
        return float(best.value)

    def _require_numbers(self) -> None:
        if self.direction not in ("maximize", "minimize"):
            raise UserError(f"hydra.sweeper.direction={self.direction} is not known: expected maximize or minimize")
        for name in ("n_trials", "n_jobs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UserError(f"hydra.sweeper.{name}={value} is out of range: expected a whole number from 1")

    def _sampler(self, trials: int) -> Any:
        if self.sampler is None:
            return import_optuna().samplers.TPESampler()
        seed = self.sampler.get("seed")  # in a resumed sweep the same seed would propose the same points again
        return instantiate(self.sampler, **({} if seed is None else {"seed": seed + trials}))

    def _launch(self, study: Any, trials: Sequence[Any], fixed: Sequence[str]) -> None:
        """Run trials, and tell the study how they ended."""
        state = import_optuna().trial.TrialState
        jobs = []
        for trial in trials:
            folder = trial.user_attrs.get(FOLDER, str(trial.number))
            trial.set_user_attr(FOLDER, folder)
            values = [f"{key}={value}" for key, value in trial.params.items()]
            pruner = OmegaConf.to_container(self.pruner) if self.pruner else None
            where = quoted(json.dumps([str((self.folder / STUDY).absolute()), trial.number, pruner]))
            jobs.append([*fixed, *values, f"hydra.sweep.subdir={folder}", f"++hydra.job.env_set.{TRIAL}={where}"])
        assert self.launcher is not None
        for trial, ended in zip(trials, self.launcher.launch(jobs, trials[0].number), strict=True):
            value = ended.return_value
            summary = self.folder / trial.user_attrs[FOLDER] / SUMMARY
            if not isinstance(value, float) or math.isnan(value):
                study.tell(trial, state=state.FAIL)
            elif json.loads(summary.read_text(encoding="utf-8")).get("pruned"):
                study.tell(trial, state=state.PRUNED)
            else:
                study.tell(trial, value)


def distribution(override: Override) -> Any:
    """The Optuna distribution of a swept option.

    Raises:
        UserError: Optuna knows none, as of a logarithm from 0.

    >>> parse = OverridesParser.create().parse_override
    >>> distribution(parse("lr=tag(log,interval(1e-4,1e-2))"))
    FloatDistribution(high=0.01, log=True, low=0.0001, step=None)
    >>> distribution(parse("model=vgg16,vgg19"))
    CategoricalDistribution(choices=('vgg16', 'vgg19'))
    >>> distribution(parse("batch_size=range(16,64,16)"))
    IntDistribution(high=48, log=False, low=16, step=16)
    """
    try:
        return _distribution(override)
    except (ValueError, IndexError) as error:
        raise UserError(
            f"{override.input_line} is no space to search ({reason(error)}): give another, as "
            f"{override.get_key_element()}=tag(log,interval(1e-4,1e-2))"
        ) from error


def _distribution(override: Override) -> Any:
    optuna = import_optuna()
    value = override.value()
    if isinstance(value, IntervalSweep):
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
        return kind(value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep) and isinstance(value.start, int) and isinstance(value.step, int):
        values: Any = value.range()
        return optuna.distributions.IntDistribution(values[0], values[-1], step=value.step)
    return optuna.distributions.CategoricalDistribution(list(override.sweep_string_iterator()))


def requeue_trials(study: Any) -> None:
    """Queue the trials that an interrupted sweep left running, and those that failed, with the folders they have."""
    state = import_optuna().trial.TrialState
    trials = study.trials
    for trial in trials:
        folder = trial.user_attrs.get(FOLDER)
        if trial.state == state.RUNNING:
            study.tell(trial.number, state=state.FAIL)
        elif trial.state != state.FAIL:
            continue
        later = [one for one in trials[trial.number + 1 :] if one.user_attrs.get(FOLDER) == folder]
        if folder is not None and not later:
            study.enqueue_trial(trial.params, user_attrs={FOLDER: folder})
