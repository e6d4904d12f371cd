"""A trunk's output from layers that are named: of an earlier one, or of several at one resolution."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import MethodType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camexp.errors import UserError, nearest
from camexp.models.trunks import Trunk
from camexp.models.unused import remove_unused

PROBE = 64  # pixels of the image that the layers' sizes are measured with
TOKENS = "num_prefix_tokens"  # what timm's vision transformers have, and nothing else


def take_layers(trunk: Trunk, names: Sequence[str]) -> None:
    """Make these layers' outputs, side by side, the trunk's output: ``(B, ΣD, h, w)``, at the finest one's resolution.

    Coarser ones are enlarged bilinearly. All that follows sees one trunk of more channels: a head weighs all of them
    together, and the mean of a map stays the logit. What only later layers need is taken out.

    Args:
        trunk: changed in place. A sequence of modules (VGG, torchvision's) or a network of timm.
        names: the paper's (``conv4_3``, with its activation), a module's (``layer3``, ``features.22``), or of timm's
            networks one of their stages (``layer3``, ``stages.2``), of its vision transformers a block (``blocks.8``,
            its patch tokens) or ``norm``, the last block's after the last norm.

    Raises:
        UserError: a layer that the trunk lacks, one that is named twice, or a trunk that cannot be cut.

    >>> from camexp.models import build_trunk
    >>> trunk = build_trunk("vgg16", 1 / 16)
    >>> take_layers(trunk, ["conv4_3", "conv5_3"])
    >>> trunk(torch.zeros(1, 3, 64, 96)).shape, trunk.out_channels, trunk.stride
    (torch.Size([1, 64, 8, 12]), 64, 8)
    """
    if not names or len(set(names)) < len(names):
        raise UserError(f"model.out_layers={list(names)} is not a list of layers, each named once: take null or others")
    features: Any = trunk.features
    is_sequence = isinstance(features, nn.Sequential)
    if is_sequence:
        features.taken = [_end(trunk, name) for name in names]
        features.forward = MethodType(_forward_sequence, features)
    elif hasattr(features, "forward_intermediates") and hasattr(features, "feature_info"):
        features.taken = [_index(features, name) for name in names]
        features.forward = MethodType(_forward_timm, features)
    else:
        raise UserError(
            f"model.out_layers={list(names)}: this trunk is neither a sequence of layers nor a network of timm that "
            "gives its stages: take null"
        )
    measure(trunk)


def measure(trunk: Trunk) -> None:
    """After a change of what a trunk gives: its channels, its stride, and nothing in it that is not used."""
    features: Any = trunk.features
    was_training = features.training
    features.enlarged = None
    known = next(features.parameters())
    with torch.enable_grad():
        probe = torch.zeros(1, 3, PROBE, PROBE, dtype=known.dtype, device=known.device)
        features.enlarged = _coarser(features.eval()(probe))
        out = features(probe)
    features.train(was_training)
    removed = remove_unused(features, out)
    kept = set(features.modules())
    gone = [name for name, modules in trunk.layers.items() if not any(module in kept for module in modules)]
    for name in gone:
        del trunk.layers[name]
    trunk.beyond = (*trunk.beyond, *(trunk.prefix + one for one in removed), *(f"{name}." for name in gone))
    patch = features.patch_embed.patch_size[0] if hasattr(features, TOKENS) else None
    trunk.out_channels, trunk.stride = out.shape[1], patch or PROBE // out.shape[-1]


def side_by_side(features: Sequence[Tensor], enlarged: Sequence[bool]) -> Tensor:
    """Features of several layers as one.

    Args:
        features: ``(B, D, h, w)`` each, with D, h and w of its own.
        enlarged: which of them are coarser than the finest, and are enlarged to it (bilinear, corners not aligned).

    Returns:
        ``(B, ΣD, h, w)``.

    >>> side_by_side([torch.ones(1, 2, 4, 6), torch.zeros(1, 3, 2, 3)], [False, True]).shape
    torch.Size([1, 5, 4, 6])
    """
    size = features[enlarged.index(False)].shape[-2:]
    return torch.cat(
        [
            F.interpolate(one, size, mode="bilinear", align_corners=False) if coarse else one
            for one, coarse in zip(features, enlarged, strict=True)
        ],
        1,
    )


def _joined(features: Any, given: list[Tensor]) -> Any:
    """While the layers are measured, what they give; else one tensor."""
    return given if features.enlarged is None else side_by_side(given, features.enlarged)


def _coarser(given: Sequence[Tensor]) -> list[bool]:
    finest = max(one.shape[-1] for one in given)
    return [one.shape[-1] < finest for one in given]


def _end(trunk: Trunk, name: str) -> str:
    """The path of the module whose output is a layer's: its own, or what follows it without weights or pooling."""
    modules = {path: module for path, module in trunk.features.named_modules() if path}
    of_layer = trunk.layers.get(name, [])
    path = next((path for path, module in modules.items() if of_layer and module is of_layer[-1]), _path(name, modules))
    containers = [trunk.features, *(modules.get(path[:at]) for at, letter in enumerate(path) if letter == ".")]
    if path not in modules or not all(isinstance(one, nn.Sequential) for one in containers):
        inside = [path for path in modules if path.count(".") == 0]
        raise UserError(f"model.out_layers={name} is no layer of this trunk: {nearest(name, [*trunk.layers, *inside])}")
    above, _, key = path.rpartition(".")
    siblings = list((modules[above] if above else trunk.features).named_children())
    at = [one for one, _ in siblings].index(key)
    for later, module in siblings[at + 1 :]:
        if any(True for _ in module.parameters()) or "Pool" in type(module).__name__:
            break
        key = later
    return f"{above}.{key}" if above else key


def _path(name: str, known: Collection[str]) -> str:
    """A module's path in the trunk's features, whether or not it is written with what is above them."""
    inner = name.removeprefix("trunk.")
    return name if name in known else inner if inner in known else inner.removeprefix("features.")


def _forward_sequence(self: Any, images: Tensor) -> Any:
    seen: dict[str, Tensor] = {}
    _run(self, images, "", self.taken, seen)
    return _joined(self, [seen[path] for path in self.taken])


def _run(module: nn.Module, x: Tensor, prefix: str, wanted: Sequence[str], seen: dict[str, Tensor]) -> Tensor:
    for key, child in module.named_children():
        if len(seen) == len(wanted):
            break
        path = f"{prefix}{key}"
        inside = any(one.startswith(f"{path}.") for one in wanted)
        x = _run(child, x, f"{path}.", wanted, seen) if inside else child(x)
        if path in wanted:
            seen[path] = x
    return x


def _index(features: Any, name: str) -> tuple[int, bool]:
    """Which of timm's stages, and whether the last norm follows."""
    known = [stage["module"] for stage in features.feature_info]
    tokens = hasattr(features, TOKENS)
    if name == "norm" and tokens:
        return len(known) - 1, True
    inner = _path(name, known)
    if inner not in known:
        names = [*known, "norm"] if tokens else known
        raise UserError(f"model.out_layers={name} is no stage of this network: {nearest(name, names)}")
    return known.index(inner), False


def _forward_timm(self: Any, images: Tensor) -> Any:
    indices = sorted({index for index, _ in self.taken})
    if hasattr(self, TOKENS):
        images = _padded(images, *self.patch_embed.patch_size)
    given = self.forward_intermediates(images, indices=indices, stop_early=True, intermediates_only=True)
    of_index = dict(zip(indices, given, strict=True))
    return _joined(self, [_normed(self, of_index[index]) if norm else of_index[index] for index, norm in self.taken])


def _padded(images: Tensor, down: int, across: int) -> Tensor:
    """Zeros at the ends of sides that are no multiples of the patch, as timm's ``dynamic_img_pad`` does it: by whole
    numbers alone, which a graph can hold."""
    height, width = images.shape[-2:]
    whole = (height + down - 1) // down * down, (width + across - 1) // across * across
    return F.pad(images, (0, whole[1] - width, 0, whole[0] - height))


def _normed(features: Any, tokens: Tensor) -> Tensor:
    """Patch tokens ``(B, D, h, w)`` after the transformer's last norm, which is one of each token by itself."""
    return features.norm(tokens.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
