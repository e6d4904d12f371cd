"""A network as a folder in the layout of the Hugging Face hub: ``model.safetensors``, ``config.json``, ``README.md``.

Whoever loads such a folder executes nothing of it: the weights are safetensors, the rest is JSON with plain values, and
no value is a path.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from camexp.errors import UserError, reason

WEIGHTS, CONFIG = "model.safetensors", "config.json"
LIBRARY, FORMAT = "camexp", 1
LARGEST_CONFIG = 1 << 25  # bytes; ImageNet's 1,000 classes take 20,000


def _require_finite(values: list[float]) -> list[float]:
    if not all(math.isfinite(value) for value in values):
        raise ValueError("expected finite numbers")
    return values


def _require_nonzero(values: list[float]) -> list[float]:
    if not all(value > 0 for value in values):
        raise ValueError("expected numbers above 0")
    return values


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


Side = Annotated[int, Field(ge=32, le=8192)]
Triple = Annotated[list[float], Field(min_length=3, max_length=3), AfterValidator(_require_finite)]


class _Head(_Strict):
    kind: Literal["cam", "gap"] = "cam"
    channels: int = Field(1024, ge=1, le=65536)
    dropout: float = Field(0.5, ge=0, lt=1)
    bias: bool = False
    init_std: float = Field(0.01, gt=0, le=10)
    l2: float = Field(0.01, ge=0, le=1e6)
    pool: Literal["gap", "tap", "lse", "gem", "attention"] = "gap"
    tap_threshold: float = Field(0.1, ge=0, lt=1)
    lse_r: float = Field(5.0, ge=1e-3, le=1e3)
    gem_p: float = Field(3.0, ge=1, le=100)
    attention_channels: int = Field(128, ge=1, le=65536)
    attention_gated: bool = False
    cells: int = Field(1, ge=1, le=16)
    power: float = Field(1.0, ge=0.1, le=1)
    norm: Annotated[float, Field(ge=1e-3, le=1e4)] | None = None


class _Architecture(_Strict):
    trunk: str = Field(min_length=1, max_length=200)
    width: float = Field(1.0, gt=0, le=8)
    head: _Head = _Head()
    output_stride: Literal[8, 16] | None = None
    out_layers: Annotated[list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=64)] | None = None


class _Preprocessing(_Strict):
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None
    mean: Triple
    std: Annotated[Triple, AfterValidator(_require_nonzero)]


class _Described(BaseModel):
    """What a checkpoint says besides what its network is built of, which fails by itself where it is wrong."""

    model_config = ConfigDict(strict=True, extra="ignore")
    classes: list[str] = Field(min_length=1)
    preprocessing: _Preprocessing


class _Config(BaseModel):
    """What ``config.json`` must say; a later version, or a person, may add to it."""

    model_config = ConfigDict(strict=True, extra="ignore")
    library_name: Literal["camexp"]
    format: Literal[1]
    classes: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1, max_length=1_000_000)
    architecture: _Architecture
    preprocessing: _Preprocessing
    training: dict[str, Any] = {}


def require_described(about: Mapping[str, Any]) -> None:
    """Before a network is built of what a checkpoint says: its classes are texts, and no preprocessing is absurd.

    Raises:
        ValueError: the first of these that is not so.
    """
    try:
        _Described.model_validate(dict(about))
    except ValidationError as error:
        raise ValueError(_first(error)) from error


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'its content'}: {first['msg']}"


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a ``ckpt`` means an exported network: a folder, or a ``.safetensors`` file in one.

    >>> is_exported("best.ckpt"), is_exported("exported/model.safetensors")
    (False, True)
    """
    return Path(path).is_dir() or Path(path).suffix.lower() == ".safetensors"


def config_json(about: Mapping[str, Any], training: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """What stands in ``config.json``.

    Args:
        about: :func:`camexp.models.checkpoint.checkpoint_metadata`'s.
        training: how it was trained, plain values without paths: the folder is made to be published.
        versions: of the libraries that wrote it.
    """
    network = {key: about[key] for key in ("classes", "architecture", "preprocessing")}
    return {
        "library_name": LIBRARY, "format": FORMAT, **network, "training": dict(training), "versions": dict(versions),
    }  # fmt: skip


def read_hub_config(path: str | os.PathLike[str], option: str = "ckpt") -> dict[str, Any]:
    """What the ``config.json`` of an exported network says, each value checked.

    Args:
        path: the folder, or the ``.safetensors`` beside it.
        option: what the user calls it, for the error's sentence.

    Raises:
        UserError: no such file, no JSON, or not a network of camexp.
    """
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(
            f"{option}={path} has no {CONFIG} beside it: give a checkpoint from a training run, or the output "
            "of an export to=safetensors"
        )
    try:
        if file.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"more than {LARGEST_CONFIG >> 20} MB")
        config = _Config.model_validate(json.loads(file.read_bytes()))
    except ValidationError as error:
        raise UserError(
            f"{option}={path}: {CONFIG} does not describe a network of camexp ({_first(error)}): "
            "it is damaged, of another library, or from another version of camexp"
        ) from error
    except (OSError, ValueError, RecursionError) as error:  # a hostile one may nest a million brackets
        raise UserError(f"{option}={path}: {CONFIG} could not be read ({reason(error)})") from error
    about = config.model_dump(exclude_unset=True)
    return {**about, "training": config.training}


def read_exported(path: str | os.PathLike[str], option: str = "ckpt") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What describes an exported network, and its weights on the CPU.

    Raises:
        UserError: a file that is missing, damaged, or does not fit the other.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = Path(path) / WEIGHTS if Path(path).is_dir() else Path(path)
    if not file.exists() and not Path(path).is_dir():
        raise UserError(f"{option}={path} is not a file: give a checkpoint, or the output folder of an export")
    about = read_hub_config(path, option)
    if not file.is_file():
        raise UserError(
            f"{option}={path} holds no {WEIGHTS}, which is what camexp reads: export it with to=safetensors"
        )
    try:
        # the file's tensors lie at any address; of their own each is aligned, as a checkpoint's are, and the same code
        # multiplies it: the logits are the same to the last bit
        state = {key: value.clone() for key, value in load_file(file).items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{option}={path}: {file.name} is not a sound safetensors file ({reason(error)})") from error
    # before anything of the sizes it asks for is made
    head, classes = about["architecture"].get("head", {}), len(about["classes"])
    linear = state.get("head.linear.weight")
    wide = None if head.get("kind") == "gap" else head.get("channels", 1024)
    if linear is None or linear.ndim != 2 or linear.shape[0] != classes or wide not in (None, linear.shape[1]):
        found = "no head" if linear is None else f"a head of {tuple(linear.shape)}"
        raise UserError(
            f"{option}={path}: {file.name} holds {found}, {CONFIG} describes {classes} classes"
            f"{'' if wide is None else f' and {wide} channels'}: they do not belong together"
        )
    return about, state
