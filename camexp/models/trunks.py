"""Trunks: the convolutions below the head. One function a family, registered by its names in ``TRUNKS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from camexp import plugins
from camexp.discovery import import_modules
from camexp.errors import UserError, nearest, reason
from camexp.models.convolution import use_winograd


class Trunk(nn.Module):
    """Convolutions that end in spatial features.

    Args:
        features: maps ``(B, 3, H, W)`` to ``(B, out_channels, H / stride, W / stride)``. Its state-dict
            keys are those of the published weights, less their prefix.
        out_channels: the features' channels.
        stride: input pixels a step of the features.
        layers: the trainable layers by the paper's names, in the order of the data.
        beyond: the beginnings of the names that published weights have and the trunk does not: what follows it.
        prefix: what the published weights' names have before the trunk's.
    """

    min_size = 32
    normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None  # None: torchvision's
    # where published files differ from `features` by more than a prefix: from a file's content to its state dict
    published: Callable[[Mapping[str, Any], Trunk], Mapping[str, Any]] | None = None

    def __init__(
        self, features: nn.Module, out_channels: int, stride: int, layers: dict[str, list[nn.Module]],
        beyond: tuple[str, ...] = ("classifier.",), prefix: str = "features.",
    ):  # fmt: skip
        super().__init__()
        use_winograd(features)
        self.features = features
        self.out_channels = out_channels
        self.stride = stride
        self.beyond, self.prefix = beyond, prefix
        self.layers = layers  # a plain dict: the modules are registered once, in `features`

    def forward(self, images: Tensor) -> Tensor:
        """Features ``(B, out_channels, h, w)`` of images ``(B, 3, H, W)``; H and W at least 32."""
        if min(images.shape[-2:]) < self.min_size:
            height, width = images.shape[-2:]
            raise UserError(f"an image of {width}×{height} pixels is too small: at least {self.min_size} each way")
        return self.features(images)


# Convolutions of 64, 128, 256, 512 and 512 channels in each of the five blocks (Simonyan and Zisserman, 2015, table 1).
_VGG = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
_CHANNELS = (64, 128, 256, 512, 512)


def vgg(name: str, width: float = 1.0) -> Trunk:
    """VGG cut before its last max-pool (Simonyan and Zisserman, 2015): stride 16.

    Args:
        name: ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19``, or one of these with ``_bn``.
        width: the share of each convolution's channels to keep; 1 is the published network.

    >>> import torch
    >>> trunk = vgg("vgg19", width=1 / 16)
    >>> trunk(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 32, 4, 6])
    >>> list(trunk.layers)[-2:]
    ['conv5_3', 'conv5_4']
    """
    channels = [max(1, round(value * width)) for value in _CHANNELS]
    features = _vgg_layers(_VGG[name.removesuffix("_bn")], channels, batch_norm=name.endswith("_bn"))

    layers: dict[str, list[nn.Module]] = {}
    block, depth = 1, 0
    for module in features:
        if isinstance(module, nn.MaxPool2d):
            block, depth = block + 1, 0
        elif isinstance(module, nn.Conv2d):
            depth += 1
            layers[f"conv{block}_{depth}"] = [module]
            if not module.weight.is_meta:  # it has no data, and drawing it would load torch's compiler
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            layers[f"conv{block}_{depth}"].append(module)
    return Trunk(features, out_channels=channels[-1], stride=16, layers=layers)


def _vgg_layers(depths: Sequence[int], channels: Sequence[int], batch_norm: bool) -> nn.Sequential:
    """VGG's features less the last max-pool, in torchvision's order, so that the keys of its weights fit.

    Not torchvision's own function: with it come all its networks and torch's compiler, a second at every start.
    """
    layers: list[nn.Module] = []
    below = 3
    for depth, above in zip(depths, channels, strict=True):
        if layers:
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        for _ in range(depth):
            layers.append(nn.Conv2d(below, above, kernel_size=3, padding=1))
            layers += [nn.BatchNorm2d(above)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            below = above
    return nn.Sequential(*layers)


TRUNKS: dict[str, Callable[[str, float], Trunk]] = {name + suffix: vgg for name in _VGG for suffix in ("", "_bn")}


# Networks of whole libraries, as LIBRARY/NAME: from a name and an output stride to a trunk.
LIBRARIES: dict[str, Callable[[str, int | None], Trunk]] = {}


def build_trunk(name: str, width: float = 1.0, output_stride: int | None = None) -> Trunk:
    """The trunk of that name, with fresh weights.

    Args:
        name: a key of ``TRUNKS``, or a library and its name for a network, as ``timm/resnet50``.
        width: the share of the published channels; the networks of libraries have 1 only.
        output_stride: 8 or 16 keep the last stages finer than published by dilation; where the network allows.

    Raises:
        UserError: an unknown name, a width that is not positive, or a stride that the network does not allow.

    >>> build_trunk("vgg18")
    Traceback (most recent call last):
    camexp.errors.UserError: model.trunk=vgg18 is not a known trunk: did you mean vgg19 or vgg16 or vgg13?
    """
    library, slash, inner = str(name).partition("/")
    if name not in TRUNKS and library not in LIBRARIES:
        import_modules("camexp.models")
    if slash and library in LIBRARIES:
        if width != 1:
            raise UserError(f"model.width={width}: the networks of {library} come with their own channels, take 1")
        return LIBRARIES[library](inner, output_stride)
    if output_stride is not None:
        raise UserError(f"model.output_stride={output_stride}: {name} has 16 and no other, take null")
    if name not in TRUNKS and name not in (brought := plugins.plugin_names(plugins.TRUNKS)):
        raise UserError(f"model.trunk={name} is not a known trunk: {nearest(str(name), [*TRUNKS, *brought])}")
    if not 0 < width <= 8:
        raise UserError(f"model.width={width} is out of range: expected more than 0 and at most 8 (1: as published)")
    return TRUNKS[name](name, width) if name in TRUNKS else _plugin_trunk(name, width)


def _plugin_trunk(name: str, width: float) -> Trunk:
    """A trunk of another package, whose entry point in ``camexp.trunks`` is a function as those in ``TRUNKS`` are."""
    build = plugins.load_plugin(plugins.TRUNKS, name)
    try:
        trunk = build(name, width)
    except UserError:
        raise
    except Exception as error:  # a package of someone else's may fail in any way
        what = f"{type(error).__name__}: {reason(error)}"
        raise UserError(
            f"model.trunk={name}: its package could not build it from ({name!r}, {width}): {what}"
        ) from error
    if not isinstance(trunk, Trunk):
        raise UserError(f"model.trunk={name}: its package gives {type(trunk).__name__}, not a camexp.models.Trunk")
    return trunk


def freeze(trunk: Trunk, what: str) -> list[str]:
    """Take layers out of training.

    Args:
        trunk: changed in place (``requires_grad``).
        what: ``none``, ``trunk``, or the name of the first layer to train: all before it is frozen.

    Returns:
        The names of the frozen layers, in order.

    Raises:
        UserError: no layer of that name.

    >>> freeze(vgg("vgg11", 1 / 16), "conv3_1")
    ['conv1_1', 'conv2_1']
    """
    names = list(trunk.layers)
    if what == "none":
        frozen = []
    elif what == "trunk":
        frozen = names
    elif what in names:
        frozen = names[: names.index(what)]
    else:
        raise UserError(f"model.freeze={what} is not none, trunk or a layer: {nearest(what, names)}")
    for name in frozen:
        for module in trunk.layers[name]:
            module.requires_grad_(False)
    return frozen
