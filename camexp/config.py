"""Options met at the door: one table of what each number may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from camexp.errors import UserError
from camexp.precision import PRECISIONS


@dataclass(frozen=True)
class Number:
    """What an option may be: a number in [low, high], whole or not, or null or auto where that means something."""

    low: float
    high: float
    whole: bool = True
    optional: bool = False
    auto: bool = False

    def check(self, option: str, value: Any) -> None:
        """Raise a UserError that names the option, what came and what was expected."""
        if (value is None and self.optional) or (value == "auto" and self.auto):
            return
        kinds: tuple[type, ...] = (int,) if self.whole else (int, float)
        sound = isinstance(value, kinds) and not isinstance(value, bool)
        if not sound or not self.low <= value <= self.high:
            kind = "a whole number" if self.whole else "a number"
            words = "auto, " * self.auto + "null or " * self.optional
            raise UserError(
                f"{option}={value} is out of range: expected {words}{kind} from {self.low:g} to {self.high:g}"
            )


BIG = 10**9
TRAIN = {
    "seed": Number(0, 2**31),
    "batch_size": Number(1, 65536),
    "num_workers": Number(0, 256, optional=True),
    "trainer.max_epochs": Number(1, BIG, optional=True),
    "trainer.max_steps": Number(1, BIG, optional=True),
    "trainer.cpu_processes": Number(1, 256),
    "trainer.num_nodes": Number(1, 4096),
    "trainer.check_every_n_steps": Number(1, BIG, optional=True, auto=True),
    "trainer.log_every_n_steps": Number(1, BIG),
    "trainer.gradient_clip_val": Number(0, BIG, whole=False, optional=True),
    "checkpoint.every_n_steps": Number(0, BIG),
    "checkpoint.keep": Number(1, BIG, optional=True),
    "inspect.every_n_steps": Number(0, BIG),
    "inspect.alpha": Number(0, 1, whole=False),
    "optimizer.lr": Number(1e-12, 1e3, whole=False),
    "model.width": Number(1e-3, 8, whole=False),
    "dataset.max_skipped": Number(0, 1, whole=False),
    "features.max_gb": Number(0, 1e6, whole=False),
}
PREDICT = {
    "batch_size": Number(1, 65536),
    "num_workers": Number(0, 256, optional=True),
    "alpha": Number(0, 1, whole=False),
    "montage.images": Number(0, 100),
    "montage.pages": Number(1, BIG, optional=True),
    "montage.tile": Number(32, 2000),
}
EVALUATE = {
    "batch_size": Number(1, 65536),
    "num_workers": Number(0, 256, optional=True),
    "faithfulness.images": Number(0, BIG),
    "faithfulness.steps": Number(1, 1000),
    "features.max_gb": Number(0, 1e6, whole=False),
    "sheet.images": Number(0, 200),
    "sheet.tile": Number(32, 2000),
    "alpha": Number(0, 1, whole=False),
}
CHOICES = {
    "command": ("train", "classes"),
    "precision": PRECISIONS,
    "resume": ("auto",),
    # others split the weights (FSDP, DeepSpeed), or start the processes themselves (ddp_spawn)
    "trainer.strategy": ("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"),
}
FLAGS = (
    "overlays",
    "compile",
    "model.head.bias",
    "debug",
    "dataset.check",
    "dataset.download",
    "split.all",
    "colorbar",
    "strict",
    "npz",
    "mat.upsampled",
    "mat.write",
    "cam.flip",
    "cam.ten_crop",
)


def plain(config: DictConfig, numbers: Mapping[str, Number]) -> dict[str, Any]:
    """The composed configuration as plain, resolved values, its numbers checked.

    Raises:
        UserError: a value out of range or of another kind, or a mandatory one that is missing.
    """
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} is not given: add {missing[0]}=…")
    values: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    for option in ("output", "hydra.run.dir", "ckpt"):
        if option in values and values[option] == "":
            raise UserError(f"{option}= is empty: give a path")
    for option in (*numbers, *FLAGS):
        section = option.rpartition(".")[0]
        node = look_up(values, section) if section else values
        named = section == "model.head" and isinstance(node, str)  # a head by its name
        if section and section.split(".")[0] in values and not isinstance(node, Mapping) and not named:
            raise UserError(f"{section}={node} replaces a whole section: set one of its keys, as {option}=…")
    for option, number in numbers.items():
        if "." in option and not isinstance(look_up(values, option.rpartition(".")[0]), Mapping):
            continue
        number.check(option, look_up(values, option))
    for option, choices in CHOICES.items():
        value = look_up(values, option)
        if value is not None and str(value) not in choices:
            raise UserError(f"{option}={value} is not known: expected one of {', '.join(choices)}")
    for option in FLAGS:
        value = look_up(values, option)
        if value is not None and not isinstance(value, bool):
            raise UserError(f"{option}={value} is not known: expected true or false")
    return values


def build(node: Mapping[str, Any], option: str, **kwargs: Any) -> Any:
    """Hydra's ``instantiate``, its failures told as the user's.

    Args:
        node: ``_target_`` and its arguments.
        option: what the user calls it, for the error's sentence.
        kwargs: further arguments.

    Raises:
        UserError: a part that cannot be imported or built.
    """
    try:
        return instantiate(dict(node), **kwargs)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, ImportError) or "No module named" in str(error):
            extra = option.partition("=")[2] or option
            raise UserError(f"{option} needs a package that is not installed: pip install 'camexp[{extra}]'") from error
        raise UserError(f"{option} could not be built: {' '.join(str(cause).split())}") from error


def look_up(values: Mapping[str, Any], option: str) -> Any:
    """``values["a"]["b"]`` for ``a.b``; ``None`` where there is no such key.

    >>> look_up({"a": {"b": 1}}, "a.b"), look_up({"a": None}, "a.b")
    (1, None)
    """
    node: Any = values
    for key in option.split("."):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as ``{"a.b": 1}``; lists as text.

    >>> flat({"a": {"b": 1}, "c": [1, 2]})
    {'a.b': 1, 'c': '[1, 2]'}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = str(value) if isinstance(value, (list, tuple)) else value
    return result
