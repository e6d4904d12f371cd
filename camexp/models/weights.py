"""Pretrained trunk weights from the four kinds of file people have."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from camexp.errors import UserError, reason
from camexp.models.numpy_pickle import read_numpy_dict
from camexp.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from camexp.models.trunks import Trunk

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
TORCHVISION: Normalisation = (IMAGENET_MEAN, IMAGENET_STD)
# RGB means of the Caffe/TensorFlow VGG, as values in [0, 1]; its inputs are 0–255 less the mean.
CAFFE: Normalisation = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255))


def load_weights(trunk: Trunk, source: str, name: str) -> Normalisation:
    """Fill a trunk with pretrained weights.

    Args:
        trunk: changed in place.
        source: ``imagenet`` (torchvision's download) or the path of a ``.npy`` (TensorFlow VGG layout),
            ``.pth``/``.pt`` or ``.safetensors`` (torchvision's names). Half precision is widened.
        name: the trunk's name, for the download and for messages.

    Returns:
        ``(mean, std)`` of the input these weights expect, RGB in [0, 1].

    Raises:
        UserError: a file that is missing, of another kind, damaged, or whose tensors do not fit.
    """
    if source == "imagenet":
        state, normalisation = _download(name, trunk), trunk.normalisation or TORCHVISION
    else:
        path = Path(source).expanduser()
        if not path.is_file():
            raise UserError(
                f"model.weights={source} is not a file: give imagenet, null, or the path of a "
                ".npy, .pth, .pt or .safetensors"
            )
        state, normalisation = _read(path, trunk, source)
    _check(state, trunk, source)
    trunk.features.load_state_dict(state)
    return normalisation


def _read(path: Path, trunk: Trunk, source: str) -> tuple[dict[str, Tensor], Normalisation]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _from_tensorflow(read_numpy_dict(path), trunk, source), CAFFE
    if suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"model.weights={source} is not a sound safetensors file ({reason(error)})") from error
    elif suffix in (".pth", ".pt"):
        try:
            # what DINO's training was started with, which stands beside its weights: a class that does nothing
            with torch.serialization.safe_globals([Namespace]):
                state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises a dozen kinds, all of which mean the same to a user
            raise UserError(
                f"model.weights={source} is not a plain file of tensors "
                f"({reason(error)}): expected torchvision's state dict"
            ) from error
    else:
        raise UserError(
            f"model.weights={source} has the ending {suffix or '(none)'}: expected .npy, .pth, .pt or .safetensors"
        )
    if isinstance(state, dict) and trunk.published is not None:
        state = dict(trunk.published(state, trunk))
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"model.weights={source} is not a state dict: expected {{name: tensor}}")
    # what comes after the trunk is no part of a CAM network
    widened = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    return _of_trunk(widened, trunk), trunk.normalisation or TORCHVISION


def _of_trunk(state: dict[str, Tensor], trunk: Trunk) -> dict[str, Tensor]:
    """Published weights less what follows the trunk, under the trunk's own names."""
    own = trunk.features.state_dict().keys()
    return {
        key.removeprefix(trunk.prefix): value
        for key, value in state.items()
        if key in own or not key.startswith(trunk.beyond)
    }


def _from_tensorflow(content: dict[str, list[np.ndarray]], trunk: Trunk, source: str) -> dict[str, Tensor]:
    """Kernels H×W×in×out become out×in×H×W; the first layer's BGR input becomes RGB.

    The means stay in the preprocessing: the zeros that pad a convolution then stand for the mean
    colour, exactly as in the original. Folded into the first layer's bias, the border would differ.
    """
    layers = {name: arrays for name, arrays in content.items() if not f"{name}.".startswith(("fc", *trunk.beyond))}
    state: dict[str, Tensor] = {}
    where = {module: index for index, module in trunk.features.named_children()}
    names = {name: where[modules[0]] for name, modules in trunk.layers.items()}
    for name, arrays in layers.items():
        if len(arrays) != 2 or arrays[0].ndim != 4 or arrays[1].ndim != 1:
            shapes = [array.shape for array in arrays]
            raise UserError(f"model.weights={source}: layer {name} has shapes {shapes}, expected HWIO kernel and bias")
        kernel = np.ascontiguousarray(arrays[0].transpose(3, 2, 0, 1), dtype=np.float32)
        if name == "conv1_1":
            kernel = kernel[:, ::-1].copy()
        key = names.get(name, name)
        state[f"{key}.weight"] = torch.from_numpy(kernel)
        state[f"{key}.bias"] = torch.from_numpy(np.ascontiguousarray(arrays[1], dtype=np.float32))
    return state


def _check(state: dict[str, Tensor], trunk: Trunk, source: str) -> None:
    expected = trunk.features.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    state.update({key: expected[key] for key in counters - state.keys()})  # files of old lack them
    shapes = [
        f"{_paper_name(key, trunk)} is {tuple(state[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    problems = {
        "missing": sorted(_paper_name(key, trunk) for key in expected.keys() - state.keys()),
        "surplus": sorted(state.keys() - expected.keys()),
        "of another shape": sorted(shapes),
        "not finite": sorted(
            _paper_name(key, trunk) for key, value in state.items() if not torch.isfinite(value).all()
        ),
    }
    said = [
        f"{what}: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" for what, names in problems.items() if names
    ]
    if said:
        raise UserError(
            f"model.weights={source} does not fit this trunk ({'; '.join(said)}): "
            "choose the model= the file was made for, or model.weights=null"
        )


def _paper_name(key: str, trunk: Trunk) -> str:
    index, _, rest = key.partition(".")
    module = dict(trunk.features.named_children()).get(index)
    for name, modules in trunk.layers.items():
        if module in modules:
            return f"features.{key} ({name} {rest})"
    return key


def _download(name: str, trunk: Trunk) -> dict[str, Tensor]:
    if name.startswith("timm/"):
        return _download_timm(name.removeprefix("timm/"), trunk)
    from torchvision.models import get_model_weights

    try:
        weights = get_model_weights(name.removeprefix("torchvision/")).IMAGENET1K_V1  # type: ignore[attr-defined]
    except (ValueError, AttributeError) as error:
        raise UserError(
            f"model.weights=imagenet: torchvision has no such weights of {name}: give model.weights=PATH, "
            "or model.weights=null model.freeze=none"
        ) from error
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = weights.url.rsplit("/", 1)[-1]
    kept = folder / file
    try:
        # weights_only: a file that already lies in the cache is not checked against its hash
        state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except OSError as error:  # no network, a full disk
        raise UserError(
            f"model.weights=imagenet could not download {weights.url} ({reason(error)}): bring the file {file} "
            f"and put it into {folder}, or give its path as model.weights=PATH, "
            "or train from scratch with model.weights=null model.freeze=none"
        ) from error
    except Exception as error:  # torch raises a dozen kinds, all of which mean the same to a user
        raise UserError(
            f"model.weights=imagenet: {kept} is not torchvision's file ({reason(error)}): "
            f"remove it, or bring {weights.url}"
        ) from error
    return _of_trunk(state, trunk)


def _download_timm(name: str, trunk: Trunk) -> dict[str, Tensor]:
    import timm

    try:
        return _of_trunk(timm.create_model(name, pretrained=True).state_dict(), trunk)
    except Exception as error:  # the hub's library raises dozens of kinds: no network, no such file, a full disk
        raise UserError(
            f"model.weights=imagenet could not download timm's {name} ({reason(error)}): bring its .safetensors "
            "and give model.weights=PATH, or train from scratch with model.weights=null model.freeze=none"
        ) from error
