"""Self-contained checkpoints: what they carry, and the way back to a network."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camexp.errors import UserError, reason
from camexp.models.classifier import CAMClassifier
from camexp.models.hub import is_exported, read_exported, read_hub_config, require_described
from camexp.models.preprocessing import Preprocessing
from camexp.models.pretrained import is_published_name, pretrained
from camexp.models.trunks import TRUNKS, vgg

METADATA = "camexp"
IMAGES = "camexp_images"  # the names of the images in train and in val
STATE_PREFIX = "classifier."


def checkpoint_metadata(classifier: CAMClassifier, config: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint needs beside the weights: plain lists, texts and numbers only, so that
    ``torch.load(weights_only=True)`` takes it."""
    return {
        "format": 1,
        "classes": list(classifier.classes),
        "architecture": classifier.architecture,
        "preprocessing": classifier.preprocessing.to_dict(),
        "config": config,
    }


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The configuration of the run that wrote a checkpoint which :func:`load` takes; of an export what it kept."""
    if is_published_name(path):
        return {}
    if is_exported(path):
        training: dict[str, Any] = read_hub_config(path)["training"]
        return {key: training[key] for key in ("split", "seed") if key in training}
    config = read_checkpoint(path, mmap=True)[METADATA].get("config")
    return config if isinstance(config, dict) else {}


def read_image_names(path: str | os.PathLike[str] | None) -> dict[str, NDArray[np.int64]] | None:
    """The images that the run which wrote a checkpoint had in ``train`` and in ``val``.

    Returns:
        Of both, what stands for their names, see :func:`camexp.data.names.name_hashes`; ``None``: it does not say.
    """
    if path is None or is_published_name(path) or is_exported(path):
        return None
    names = read_checkpoint(path, mmap=True).get(IMAGES)
    if not isinstance(names, dict):
        return None
    try:
        return {part: torch.as_tensor(names[part]).long().flatten().numpy().copy() for part in ("train", "val")}
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"ckpt={path}: the names of its images cannot be read ({reason(error)})") from error


def read_checkpoint(path: str | os.PathLike[str], option: str = "ckpt", mmap: bool = False) -> dict[str, Any]:
    """All that a checkpoint holds, on the CPU; nothing in it is executed.

    Args:
        path: a ``.ckpt`` written by a training run.
        option: what the user calls it, for the error's sentence.
        mmap: leave the weights on disk until they are looked at.

    Raises:
        UserError: no such file, or not a checkpoint of camexp.
    """
    if not Path(path).is_file():
        raise UserError(f"{option}={path} is not a file: give the path of a checkpoint from a training run")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises a dozen kinds, all of which mean the same to a user
        raise UserError(
            f"{option}={path} could not be read as a checkpoint ({reason(error)}): "
            "it is damaged, or not from a training run"
        ) from error
    if (
        not isinstance(checkpoint, dict)
        or not isinstance(checkpoint.get(METADATA), dict)
        or "state_dict" not in checkpoint
    ):
        raise UserError(f"{option}={path} is not a checkpoint of camexp: expected one from a training run")
    return checkpoint


def load(
    path: str | os.PathLike[str],
    device: str | torch.device | None = None,
    precision: str | int = "auto",
    compile: bool = False,
) -> CAMClassifier:
    """The network in a checkpoint, in eval mode, with its classes and its preprocessing.

    Args:
        path: a ``.ckpt`` written by a training run, the folder (or ``model.safetensors``) that an export wrote, or the
            name of a published network, as ``timm/resnet50``.
        device: where to put it; default: a GPU if there is one.
        precision, compile: see :meth:`CAMClassifier.optimise_for`.

    Raises:
        UserError: no such file, or not a checkpoint of camexp.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if is_published_name(path):
        classifier = pretrained(str(path)).eval()
        classifier.optimise_for(device, precision, compile)
        return classifier.to(device)
    if is_exported(path):
        about, state = read_exported(path)
    else:
        checkpoint = read_checkpoint(path)
        about = checkpoint[METADATA]
        state = {
            key.removeprefix(STATE_PREFIX): value
            for key, value in checkpoint["state_dict"].items()
            if isinstance(key, str) and key.startswith(STATE_PREFIX)
        }
    classifier = _build(about, state, path)
    classifier.eval().optimise_for(device, precision, compile)
    return classifier.to(device)


def _build(about: dict[str, Any], state: dict[str, Tensor], path: str | os.PathLike[str]) -> CAMClassifier:
    """The network that a checkpoint describes, with its weights in float32.

    Raises:
        UserError: they do not fit, or are no numbers.
    """
    try:
        require_described(about)
        # Random weights would be thrown away at once. A checkpoint has all tensors of VGG; another network may have
        # some that it computes while it is built.
        empty = TRUNKS.get(about["architecture"]["trunk"]) is vgg
        with torch.device("meta") if empty else nullcontext():
            classifier = CAMClassifier(
                classes=about["classes"],
                preprocessing=Preprocessing.from_dict(about["preprocessing"]),
                **about["architecture"],
            )
        own = classifier.state_dict()
        # assigned, not copied: a run in another precision must give float32 here too
        state = {key: value.to(own[key].dtype) if key in own else value for key, value in state.items()}
        classifier.load_state_dict(state, assign=empty)
    except (KeyError, TypeError, RuntimeError, AttributeError, ValueError) as error:
        raise UserError(
            f"ckpt={path} does not fit the network it describes ({reason(error)}): "
            "it is damaged, or from another version of camexp"
        ) from error
    broken = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise UserError(
            f"ckpt={path} holds weights that are NaN or infinite ({', '.join(broken[:3])}): its training went wrong; "
            "take an earlier checkpoint of the run"
        )
    return classifier
