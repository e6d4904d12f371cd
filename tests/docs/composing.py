"""Commands that are not run, or were run already: their options are composed and validated all the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override

from camexp.cli.arguments import quote_paths
from camexp.cli.own_configs import register_sources
from camexp.cli.presets import preset_arguments
from camexp.config import EvaluateOptions, ExploreOptions, Options, PredictOptions, TrainOptions
from camexp.config.validation import validated
from tests.docs.blocks import Command
from tests.test_configs import CONF

OPTIONS: dict[str, type[Options]] = {
    "train": TrainOptions, "predict": PredictOptions, "evaluate": EvaluateOptions, "explore": ExploreOptions,
}  # fmt: skip
OURS = ("sweep.resume=",)  # what cli.run takes away before Hydra sees it


def require_composable(command: Command) -> None:
    """Compose and validate a command's configuration, or that of each of its jobs, as it would run in this folder.

    Raises:
        Exception: an option or a choice that does not exist, or a value out of range.
    """
    given = [one for one in command.arguments if not one.startswith(OURS)]
    flags = [one for one in given if one.startswith("-")]
    assert set(flags) <= {"-m", "--help", "--cfg", "--config-name"}, flags
    if set(flags) - {"-m"}:
        return
    overrides = quote_paths(preset_arguments(command.name, [one for one in given if one not in flags]))
    if command.name == "evaluate":  # cam=a,b are several methods
        overrides = [one.partition(",")[0] if one.startswith("cam=") else one for one in overrides]
    for job in jobs(overrides) if "-m" in flags else [overrides]:
        _validate(command.name, job)


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of a sweep; of an interval its lower end.

    >>> jobs(["seed=1,2", "compile=true"])
    [['seed=1', 'compile=true'], ['seed=2', 'compile=true']]
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return [list(one) for one in product(*(_values(override) for override in parsed))]


def _values(override: Override) -> list[str]:
    if not override.is_sweep_override():
        return [str(override.input_line)]
    value = override.value()
    if isinstance(value, IntervalSweep):
        return [f"{override.key_or_group}={value.start}"]
    return [f"{override.key_or_group}={one}" for one in override.sweep_string_iterator()]


def _validate(name: str, overrides: Sequence[str]) -> None:
    where = {"train": "run_dir=run", "predict": "output=out", "evaluate": "output=out"}.get(name, "debug=false")
    if any(one.startswith("output=") for one in overrides):
        where = "debug=false"
    register_sources()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(name, [*overrides, where])
    validated(config, OPTIONS[name])
