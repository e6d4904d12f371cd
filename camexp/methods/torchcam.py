"""The methods of torch-cam (Fernandez, *TorchCAM*): Grad-CAM, Layer-CAM, Score-CAM …"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from camexp.cam.maps import upsample
from camexp.errors import UserError, nearest
from camexp.methods.registry import METHODS
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.result import CAMResult
from camexp.packages import require

# torch-cam's classes by the names people type
TORCHCAM = {
    "gradcam": "GradCAM", "gradcampp": "GradCAMpp", "smoothgradcampp": "SmoothGradCAMpp", "xgradcam": "XGradCAM",
    "layercam": "LayerCAM", "scorecam": "ScoreCAM", "sscam": "SSCAM", "iscam": "ISCAM",
}  # fmt: skip
HEAD = "head.activation"


@dataclass(frozen=True)
class TorchCAM:
    """A method of torch-cam on a layer of the network.

    Args:
        name: a key of ``TORCHCAM``.
        layer: a module's name or a list of them; ``None``: the head's activations.

    >>> from camexp.models import Preprocessing
    >>> model = CAMClassifier("vgg11", ["duck", "llama"], Preprocessing((64, 64)), width=1 / 16).eval()
    >>> TorchCAM("gradcam")(model, torch.zeros(1, 3, 64, 64), "all").maps.shape
    torch.Size([1, 2, 4, 4])
    """

    name: str
    layer: str | Sequence[str] | None = None

    def __call__(self, model: CAMClassifier, images: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`CAMClassifier.explain`; one backward pass a class, or what the method takes.

        Raises:
            UserError: torch-cam is not installed, or the network has no such layer.
        """
        methods, layers = self._package(), self._layers(model)
        images = images.to(model.device, model.head.linear.weight.dtype, copy=True)
        # without a layer that trains before it, what is hooked would have no gradient; with one, none is needed below
        images.requires_grad_(layers != [HEAD] or not hasattr(model.head, "conv_cam"))
        # float32 throughout: gradients of half precision would need scaling
        method = getattr(methods, TORCHCAM[self.name])
        with _gradients_kept(model), torch.enable_grad(), method(model, layers) as extractor:
            logits = model(images)
            chosen = model.resolve_labels(labels, logits.detach().float())
            maps = []
            for number in range(chosen.shape[1]):
                wanted = {"retain_graph": True} if "grad" in self.name or self.name == "layercam" else {}
                cams = extractor(chosen[:, number].tolist(), logits, normalized=False, **wanted)
                size = max((cam.shape[-2:] for cam in cams), key=lambda size: size[0] * size[1])
                maps.append(torch.stack([upsample(cam[:, None].float(), tuple(size))[:, 0] for cam in cams]).mean(0))
        return CAMResult(logits.detach().float(), torch.stack(maps, 1).detach(), chosen, model.classes)

    def require_layers(self, model: CAMClassifier) -> None:
        """See :func:`camexp.methods.require_layers`."""
        self._package()
        self._layers(model)

    def _package(self) -> Any:
        return require("torchcam.methods", f"cam={self.name}", "camexp[methods]")

    def _layers(self, model: CAMClassifier) -> list[str]:
        layers = [self.layer or HEAD] if isinstance(self.layer, (str, type(None))) else list(self.layer)
        known = dict(model.named_modules())
        for layer in layers:
            if layer not in known:
                raise UserError(f"cam.layer={layer} is no layer of this network: {nearest(layer, known)}")
        return layers


@contextmanager
def _gradients_kept(model: torch.nn.Module) -> Iterator[None]:
    """The parameters' gradients stay what they were: torch-cam 0.4, the last for Python 3.10, leaves its own behind."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


METHODS |= dict.fromkeys(TORCHCAM, TorchCAM)
