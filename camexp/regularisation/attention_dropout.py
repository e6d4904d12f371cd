"""ADL: the places that speak loudest are dropped, or weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from camexp.errors import UserError
from camexp.models import CAMClassifier
from camexp.models.layers import find_layer
from camexp.regularisation.regulariser import Regulariser, require_share
from camexp.regularisation.step import Draws, Targets

# Where the paper puts it in VGG (section 4.1): after these stages, and on the trunk's output.
PUBLISHED = ("conv3", "conv4")


def attention(values: Tensor) -> Tensor:
    """The mean over channels of ``(B, D, h, w)``: ``(B, 1, h, w)`` (section 3), in float32 or finer."""
    return values.mean(1, keepdim=True, dtype=torch.promote_types(values.dtype, torch.float32))


def loud(values: Tensor, threshold: float) -> Tensor:
    """Where the attention is at least ``threshold`` times its image's largest: ``(B, 1, h, w)``, bool.

    >>> loud(torch.tensor([[[[1.0, 3.0, 4.0]]]]), threshold=0.75)
    tensor([[[[False,  True,  True]]]])
    """
    seen = attention(values)
    return seen >= threshold * seen.amax((2, 3), keepdim=True)


class AttentionDropout(Regulariser):
    """Choe and Shim, *Attention-based Dropout Layer for WSOL*, CVPR 2019, section 3: a step either drops the places
    whose attention is near the largest (drop mask), or multiplies each place by the sigmoid of its attention
    (importance map).

    Args:
        drop_rate: the probability of the drop mask; the importance map takes the other steps.
        threshold: the paper's γ: of the largest attention, from which on a place is dropped. 0.8 is its value for VGG.
        layers: where it acts besides the trunk's output. ``auto``: where the paper has it in VGG, after the third and
            the fourth stage, if the trunk trains; nowhere else if it is frozen, so that its features can be stored. Or
            a list of layers, see :func:`camexp.models.layers.find_layer`.

    Raises:
        UserError: an option out of its range.

    >>> method = AttentionDropout(drop_rate=1.0, threshold=0.75)
    >>> draws = Draws(1, torch.arange(1))
    >>> method.begin_step(draws)
    >>> method.features(torch.tensor([[[[1.0, 3.0, 4.0]]]]), Targets(torch.zeros(1)), draws)[0]
    tensor([[[[1., 0., 0.]]]])
    """

    def __init__(self, drop_rate: float = 0.75, threshold: float = 0.8, layers: str | Sequence[str] = "auto"):
        super().__init__()
        self.drop_rate = require_share("regularise.drop_rate", drop_rate)
        self.threshold = require_share("regularise.threshold", threshold)
        if layers != "auto" and (isinstance(layers, str) or not isinstance(layers, Sequence)):
            raise UserError(f"regularise.layers={layers} is no list of layers: expected auto, or as [conv3_3,conv4_3]")
        self.layers = layers
        self._drops: list[bool] | None = None  # at the output and each layer; None outside a training step

    def attach(self, classifier: CAMClassifier) -> None:
        trunk = classifier.trunk
        names = list(self.layers)
        if self.layers == "auto":
            stages = [[layer for layer in trunk.layers if layer.startswith(stage)] for stage in PUBLISHED]
            names = [] if classifier.trunk_is_frozen else [stage[-1] for stage in stages if stage]
        if names and trunk._compiled_call_impl is not None:
            raise UserError(
                "regularise=adl acts inside the trunk, which compile=true has translated: leave one of them"
            )
        self.layers, self.features_recur = names, not names
        for place, name in enumerate(names, start=1):
            after_activation(trunk, name).register_forward_hook(self._hook(place))

    def _hook(self, place: int) -> Any:
        return lambda module, arguments, output: None if self._drops is None else self._at(output, place)

    def begin_step(self, draws: Draws) -> None:
        places = 1 if self.features_recur else 1 + len(self.layers)
        self._drops = [number < self.drop_rate for number in draws.shared(places).tolist()]

    def end_step(self) -> None:
        self._drops = None

    def features(self, features: Tensor, targets: Targets, draws: Draws) -> tuple[Tensor, Targets]:
        return self._at(features, 0), targets

    def _at(self, values: Tensor, place: int) -> Tensor:
        assert self._drops is not None
        if self._drops[place]:
            return values * ~loud(values, self.threshold)
        return values * attention(values).sigmoid().to(values.dtype)


def after_activation(trunk: nn.Module, name: str) -> nn.Module:
    """The ReLU after a convolution (and its batch norm) in a sequence; any other layer itself.

    Raises:
        UserError: no layer of that name.
    """
    layer = find_layer(trunk, name, f"regularise.layers={name}")  # type: ignore[arg-type]
    for module in trunk.modules():
        children = list(module.children())
        if isinstance(module, nn.Sequential) and any(child is layer for child in children):
            rest = children[next(i for i, child in enumerate(children) if child is layer) + 1 :]
            for following in rest:
                if isinstance(following, nn.ReLU):
                    return following
                if not isinstance(following, nn.BatchNorm2d):
                    break
    return layer
