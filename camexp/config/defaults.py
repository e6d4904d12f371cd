"""Which options of a run are not the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from camexp.config.options import as_written, flat, overridden
from camexp.config.own import PACKAGED


def changed_options(
    options: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """A run's options beside their defaults, those first that differ.

    An option's default is what the chosen file of its group says (``optimizer=sgd`` has its own learning rate), a
    choice's default what the command takes without one; so what a data set or an experiment brings differs too.

    Args:
        options: as ``a.b``.
        choices: of each group.
        overrides: of the command, in Hydra's grammar.

    Returns:
        ``name``, ``value``, ``default`` (text, ``None`` where there is none), ``changed``, and ``given``: whether the
        command named it.

    >>> rows = changed_options({"batch_size": 8, "seed": 0}, {"model": "vgg11"}, ["batch_size=8", "model=vgg11"])
    >>> [(row["name"], row["value"], row["default"], row["changed"]) for row in rows]
    [('model', 'vgg11', 'vgg19', True), ('batch_size', '8', '32', True), ('seed', '0', '0', False)]
    """
    usual, usual_choices = _packaged_defaults()
    defaults = dict(usual)
    for group, choice in choices.items():
        defaults |= {f"{group}.{key}": value for key, value in _choice(group, choice).items()}
    named = {overridden(one) for one in overrides}
    rows = [_row(group, choice, usual_choices.get(group, "null"), named) for group, choice in choices.items()]
    rows += [_row(name, value, defaults.get(name, _NONE), named) for name, value in options.items()]
    return sorted(rows, key=lambda row: not row["changed"])


_NONE = object()


def _row(name: str, value: Any, default: Any, named: set[str]) -> dict[str, Any]:
    given = any(f"{name}.".startswith(f"{one}.") for one in named)
    known = default is not _NONE and "${" not in str(default)
    differs = known and _comparable(value) != _comparable(default)
    return {
        "name": name, "value": as_written(value), "default": as_written(default) if known else None,
        "changed": differs or (given and not known), "given": given,
    }  # fmt: skip


@lru_cache
def _packaged_defaults() -> tuple[dict[str, Any], dict[str, str]]:
    """The options and choices of the command without arguments."""
    from omegaconf import OmegaConf

    content: Any = OmegaConf.to_container(OmegaConf.load(PACKAGED / "train.yaml"))
    listed = [one for one in content.pop("defaults") if isinstance(one, dict)]
    choices = {group: str(choice) for one in listed for group, choice in one.items() if choice is not None}
    content.pop("hydra", None)
    return flat(content), {group: choice for group, choice in choices.items() if not group.startswith("override")}


@lru_cache
def _choice(group: str, name: str) -> dict[str, Any]:
    """What a packaged file of a group says of its group, by the options' names in it."""
    from omegaconf import OmegaConf

    path = PACKAGED / group / f"{name}.yaml"
    if not path.is_file() or path.resolve().parent.parent != PACKAGED:
        return {}  # the user's own
    content: Any = OmegaConf.to_container(OmegaConf.load(path)) or {}
    bases = [one for one in content.pop("defaults", []) if isinstance(one, str) and one != "_self_"]
    own = content.get(group, {}) if "# @package _global_" in path.read_text(encoding="utf-8") else content
    merged: dict[str, Any] = {}
    for base in bases:
        merged |= _choice(group, base)
    return merged | flat(own)


def _comparable(value: Any) -> Any:
    """1e-3, which YAML reads as text, 0.001 and "0.001" are one value."""
    if isinstance(value, bool) or value is None:
        return as_written(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)
