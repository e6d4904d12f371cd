"""From what Hydra composed to validated options."""

from __future__ import annotations

from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf

from camexp.config.options import Options
from camexp.config.own import blame
from camexp.errors import UserError

O = TypeVar("O", bound=Options)  # noqa: E741


def validated(config: DictConfig, options: type[O]) -> O:
    """The composed configuration as options.

    Raises:
        UserError: a value out of range or of another kind, or a mandatory one that is missing.
    """
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{missing[0]} is not given: add {missing[0]}=…")
        values: Any = OmegaConf.to_container(config, resolve=True)
        return options.read(values)
    except UserError as error:
        raise UserError(f"{error}{blame()}") from error.__cause__
