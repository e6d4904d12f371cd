"""Trunks from torchvision's and timm's networks: ``torchvision/resnet50``, ``timm/convnext_tiny``."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camexp.errors import UserError, nearest, reason
from camexp.models.transformers import is_vision_transformer, vision_transformer
from camexp.models.trunks import LIBRARIES, Trunk
from camexp.models.unused import remove_unused
from camexp.packages import require

# what follows the spatial features, by the names that these libraries use
AFTER_FEATURES = (
    "avgpool",
    "classifier",
    "fc",
    "head",
    "dropout",
    "AuxLogits",
    "aux1",
    "aux2",
    "final_conv",
    "conv_head",
)


def torchvision_trunk(name: str, output_stride: int | None = None) -> Trunk:
    """A network of torchvision, cut before its pooling.

    >>> torchvision_trunk("resnet18")(torch.zeros(1, 3, 64, 96)).shape
    torch.Size([1, 512, 2, 3])
    """
    from torchvision import models

    if name not in (known := models.list_models(models)):
        raise UserError(f"model.name={name} is not a network of torchvision: {nearest(name, known)}")
    dilation = {None: (), 16: (False, False, True), 8: (False, True, True)}
    options = {"replace_stride_with_dilation": list(dilation[output_stride])} if dilation.get(output_stride) else {}
    if output_stride not in dilation:
        raise UserError(f"model.output_stride={output_stride} is out of range: expected null, 16 or 8")
    try:
        network = models.get_model(name, weights=None, **options)
    except (TypeError, NotImplementedError, ValueError) as error:
        raise UserError(f"model.output_stride={output_stride} is not possible for {name} ({reason(error)})") from error
    children = OrderedDict(
        (key, child) for key, child in network.named_children() if not key.startswith(AFTER_FEATURES)
    )
    if name.startswith("densenet"):
        children["activation"] = nn.ReLU()  # a function in torchvision's forward
    return _trunk(nn.Sequential(children), f"torchvision/{name}")


def timm_trunk(name: str, output_stride: int | None = None) -> Trunk:
    """The spatial features of a network of timm; of a vision transformer its patch tokens, see
    :func:`camexp.models.transformers.vision_transformer`.

    Raises:
        UserError: timm is not installed, has no such network, or the network has no features in space.
    """
    timm = require("timm", "model=timm", "camexp[timm]")
    if not timm.is_model(name):
        raise UserError(f"model.name={name} is not a network of timm: {nearest(name, timm.list_models())}")
    if is_vision_transformer(name):
        return vision_transformer(name, output_stride)
    options: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    try:
        features: Any = timm.create_model(name, pretrained=False, num_classes=0, global_pool="", **options)
    except (TypeError, NotImplementedError, AssertionError) as error:
        raise UserError(f"model.output_stride={output_stride} is not possible for {name} ({reason(error)})") from error
    features.forward = features.forward_features
    trunk = _trunk(features, f"timm/{name}")
    trunk.normalisation = tuple(features.pretrained_cfg["mean"]), tuple(features.pretrained_cfg["std"])
    return trunk


def _trunk(features: nn.Module, name: str) -> Trunk:
    was_training = features.training
    try:
        with torch.enable_grad():
            out = features.eval()(torch.zeros(1, 3, 64, 64))
    except Exception as error:  # a network of a fixed input size, or of several inputs
        why = reason(error)
        raise UserError(f"model.name: {name} gives no features in space ({why}): take a CNN or a plain ViT") from error
    features.train(was_training)
    if not isinstance(out, torch.Tensor) or out.ndim != 4 or out.shape[1] < out.shape[-1] * 2:
        shape = tuple(out.shape) if isinstance(out, torch.Tensor) else type(out).__name__
        raise UserError(f"model.name: {name} ends in {shape}, not in features (B, D, h, w): take a CNN or a plain ViT")
    removed = remove_unused(features, out)
    layers = {key: [child] for key, child in features.named_children() if any(True for _ in child.parameters())}
    trunk = Trunk(features, out.shape[1], 64 // out.shape[-1], layers, (*AFTER_FEATURES, *removed), prefix="")
    features.register_load_state_dict_pre_hook(partial(_drop_removed, removed))
    return trunk


def _drop_removed(
    removed: tuple[str, ...], module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Checkpoints of camexp 0.3 and before hold what :func:`remove_unused` takes out."""
    for key in [key for key in state if removed and key.startswith(tuple(prefix + one for one in removed))]:
        del state[key]


LIBRARIES["torchvision"] = torchvision_trunk
LIBRARIES["timm"] = timm_trunk
