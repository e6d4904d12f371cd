"""Layers of a trunk by their names, and what they give while an image passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import local
from typing import Any

import torch
from torch import Tensor, nn

from camexp.errors import UserError, nearest
from camexp.models.trunks import Trunk

PROBE = 64  # pixels of the image that layers are measured with


def find_layer(trunk: Trunk, name: str, option: str = "") -> nn.Module:
    """A layer by the paper's name (``conv4_3``) or by its module's (``features.22``, also as ``trunk.features.22``).

    Args:
        option: who asks, as ``cam.affinity=conv4_3``, for the error; without one, the name itself.

    Raises:
        UserError: none of that name.

    >>> from camexp.models import build_trunk
    >>> find_layer(build_trunk("vgg11", 1 / 16), "conv4_9")
    Traceback (most recent call last):
    camexp.errors.UserError: conv4_9 is no layer of this trunk: did you mean conv4_2 or conv4_1 or conv5_2?
    """
    if name in trunk.layers:
        return trunk.layers[name][0]
    modules = {path: module for path, module in trunk.named_modules() if path}
    inner = name.removeprefix("trunk.")
    if inner not in modules:
        raise UserError(f"{option or name} is no layer of this trunk: {nearest(name, [*trunk.layers, *modules])}")
    return modules[inner]


@contextmanager
def watched(trunk: Trunk, names: Sequence[str]) -> Iterator[Callable[[Tensor], tuple[Tensor, ...]]]:
    """Inside, a function that runs the trunk and gives its output and those of its layers ``names``; threads may share
    it, an image each.

    Raises:
        UserError: no layer of that name, or, by the function, one that gives no features in space.

    >>> from camexp.models import build_trunk
    >>> with watched(build_trunk("vgg11", 1 / 16), ["conv4_2"]) as run:
    ...     [tuple(one.shape) for one in run(torch.zeros(1, 3, 64, 96))]
    [(1, 32, 4, 6), (1, 32, 8, 12)]
    """
    if not names:
        yield lambda images: (trunk(images),)
        return
    seen = local()
    # torch.compile's translation runs no hook that it did not know
    through = trunk if trunk._compiled_call_impl is None else trunk.forward

    patches: int | None = getattr(trunk.features, "num_prefix_tokens", None)  # of a vision transformer

    def keep(name: str) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, arguments, output: seen.outputs.update({name: output})

    def run(images: Tensor) -> tuple[Tensor, ...]:
        seen.outputs = {}
        features = through(images)
        for name in names:
            given = seen.outputs.get(name)
            if isinstance(given, Tensor) and given.ndim == 3 and patches is not None:
                given = seen.outputs[name] = _in_space(given, patches, features.shape[-2:])
            if not isinstance(given, Tensor) or given.ndim != 4:
                raise UserError(f"{name} gives no features in space: take another layer")
        return (features, *(seen.outputs[name] for name in names))

    with ExitStack() as hooks:
        for name in names:
            hooks.callback(find_layer(trunk, name).register_forward_hook(keep(name)).remove)
        yield run


def _in_space(tokens: Tensor, prefix: int, size: torch.Size) -> Tensor:
    """Tokens ``(B, prefix + hw, D)`` as features ``(B, D, h, w)``, or as they are where they are not one a patch."""
    patches = tokens[:, prefix:].mT
    return patches.unflatten(2, size) if patches.shape[2] == size.numel() else tokens


def finer_layer(trunk: Trunk, option: str = "auto") -> str:
    """The last layer before the trunk's resolution halves for the last time: features of twice the output's height and
    width. Of modules inside each other it is the outermost.

    Args:
        option: who asks, for the error.

    Raises:
        UserError: the trunk has none, as one whose last stages are dilated.

    >>> from camexp.models import build_trunk
    >>> finer_layer(build_trunk("vgg16", 1 / 16)), finer_layer(build_trunk("torchvision/resnet18"))
    ('features.22', 'features.layer3')
    """
    given: list[tuple[str, torch.Size]] = []
    known = next(trunk.parameters())
    with ExitStack() as hooks, torch.no_grad():
        hooks.callback(trunk.train, trunk.training)
        trunk.eval()
        for path, module in trunk.named_modules():
            if path:
                shapes = lambda module, arguments, output, path=path: given.append((path, _shape(output)))  # noqa: E731
                hooks.callback(module.register_forward_hook(shapes).remove)
        out = trunk.forward(torch.zeros(1, 3, PROBE, PROBE, dtype=known.dtype, device=known.device)).shape
    finer = [path for path, shape in given if shape[2:] == (2 * out[2], 2 * out[3])]
    if not finer:
        raise UserError(f"{option}: no layer of this trunk has twice its output's resolution: name one")
    outermost = min(path.count(".") for path in finer)
    return [path for path in finer if path.count(".") == outermost][-1]


def _shape(output: Any) -> torch.Size:
    return output.shape if isinstance(output, Tensor) and output.ndim == 4 else torch.Size()
