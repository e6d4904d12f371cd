"""Whose folder is whose in a sweep: none is of two jobs, and what one has trained becomes no other's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from camexp.errors import UserError
from camexp.launching.run_folder import traces
from camexp.reporting.comparison import job_folders
from camexp.run_files import BEGUN, DONE

Values = dict[str, str]  # of options, as they were given


def require_own_folders(config: DictConfig) -> None:
    """Make sure of it before the first job starts. (Optuna's trials keep their folders themselves.)

    Args:
        config: of the sweep.

    Raises:
        UserError: two jobs would share a folder, or one would go on with what another has trained.
    """
    if not config.hydra.sweeper._target_.endswith("BasicSweeper"):
        return
    sweep = Path(str(config.hydra.sweep.dir))
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    params = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    written: Any = OmegaConf.to_container(config.hydra.overrides.task, resolve=False)
    overrides = parser.parse_overrides([*params, *written])
    swept = {one.get_key_element() for one in overrides if one.is_sweep_override()}
    trained = {path: values for path in job_folders(sweep) if traces(path) and (values := _recorded(path))}
    swept |= {key for one in trained.values() for key in one if len({o.get(key) for o in trained.values()}) > 1}

    owners: dict[Path, int] = {}
    for number, job in enumerate(BasicSweeper.split_arguments(overrides, None)[0]):
        path, values = sweep / _subdir(config, job, number), _values(job)
        if path in owners:
            raise UserError(
                f"hydra.sweep.subdir gives jobs {owners[path]} and {number} one folder, {path}: "
                f"name each option in it that the sweep varies ({', '.join(sorted(swept))}), or leave it out"
            )
        owners[path] = number
        before = trained.get(path, values)
        if changed := [key for key in sorted(swept) if not _same(before.get(key), values.get(key))]:
            was, now = (
                ", ".join(f"{key}={one[key]}" if key in one else f"the default of {key}" for key in changed)
                for one in (before, values)
            )
            raise UserError(
                f"sweep.resume={sweep}: {path} was trained with {was}, and would become job {number}'s, with {now}: "
                "give the values of the sweep before in their order, others after them or in another sweep"
            )


def _subdir(config: DictConfig, job: Sequence[str], number: int) -> str:
    """``hydra.sweep.subdir`` of a job, for which its configuration must be composed unless it is the default."""
    if config.hydra.sweep._get_node("subdir")._value() == "${hydra.job.num}":
        return str(number)
    composed = GlobalHydra.instance().config_loader().load_sweep_config(config, list(job))
    with open_dict(composed):
        composed.hydra.job.num = number
        composed.hydra.job.id = f"{composed.hydra.job.name}_{number}"
    hydra = HydraConfig.instance()
    before = hydra.cfg
    hydra.set_config(composed)  # for ${hydra:…}
    try:
        return str(composed.hydra.sweep.subdir)
    finally:
        hydra.cfg = before


def _recorded(folder: Path) -> Values:
    """The overrides that a job was begun with; none where that is not known."""
    for name in (BEGUN, DONE):  # the latter: of an earlier version
        try:
            return _values(json.loads((folder / name).read_text(encoding="utf-8"))["overrides"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}


def _values(overrides: Sequence[str]) -> Values:
    """
    >>> _values(["optimizer.lr=1e-3", "model=vgg11"])
    {'optimizer.lr': '1e-3', 'model': 'vgg11'}
    """
    return {key: value for key, _, value in (one.partition("=") for one in overrides)}


def _same(one: str | None, other: str | None) -> bool:
    """
    >>> _same("1e-3", "0.001"), _same("vgg11", "vgg13"), _same(None, "0")
    (True, False, False)
    """
    try:
        return float(str(one)) == float(str(other))
    except ValueError:
        return one == other
