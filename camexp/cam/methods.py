"""Other ways to a map, and averages over views of an image: the ``cam`` group.

Whatever the method, it is a callable: network, images and classes in, logits and maps out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.cam.maps import upsample
from camexp.errors import UserError, nearest
from camexp.models.classifier import CAMClassifier, CAMResult, LabelsLike

Method = Callable[[CAMClassifier, Tensor, LabelsLike], CAMResult]
# torch-cam's classes by the names people type
TORCHCAM = {
    "gradcam": "GradCAM", "gradcampp": "GradCAMpp", "smoothgradcampp": "SmoothGradCAMpp", "xgradcam": "XGradCAM",
    "layercam": "LayerCAM", "scorecam": "ScoreCAM", "sscam": "SSCAM", "iscam": "ISCAM",
}  # fmt: skip
METHODS = ("cam", *TORCHCAM)
HEAD = "head.activation"


def build_method(options: Mapping[str, Any]) -> Method:
    """The method that the ``cam`` group asks for.

    Args:
        options: ``method``, ``layer`` (a module's name or a list of them; ``None``: the head's activations),
            ``flip``, ``scales`` and ``ten_crop``, see :class:`Averaged`.

    Raises:
        UserError: an unknown method, or an option out of range.
    """
    name, layer, scales = options["method"], options["layer"], options["scales"]
    if name not in METHODS:
        raise UserError(f"cam.method={name} is not a method: {nearest(str(name), METHODS)}")
    if not isinstance(scales, Sequence) or isinstance(scales, str) or not scales:
        raise UserError(f"cam.scales={scales} is not a list of sizes: expected as [1.0] or [0.75,1.0,1.5]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.25 <= scale <= 4:
            raise UserError(f"cam.scales={list(scales)} is out of range: expected 0.25 to 4 times the input's size")
    if name == "cam":
        if layer is not None:
            raise UserError(
                f"cam.layer={layer}: cam weighs the head's activations; a layer can be given to another method"
            )
        method: Method = CAMClassifier.explain
    else:
        method = TorchCAM(name, layer)
    if options["flip"] or options["ten_crop"] or list(scales) != [1.0]:
        return Averaged(method, bool(options["flip"]), tuple(map(float, scales)), bool(options["ten_crop"]))
    return method


def is_plain(method: Method) -> bool:
    """Whether a method is CAM itself, which needs no more than the trunk's features."""
    return method is CAMClassifier.explain


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
        try:
            from torchcam import methods
        except ImportError as error:
            raise UserError(f"cam={self.name} needs torch-cam: pip install 'camexp[methods]'") from error
        layers = [self.layer or HEAD] if isinstance(self.layer, (str, type(None))) else list(self.layer)
        known = dict(model.named_modules())
        for layer in layers:
            if layer not in known:
                raise UserError(f"cam.layer={layer} is no layer of this network: {nearest(layer, known)}")
        images = images.to(model.device, model.head.linear.weight.dtype, copy=True)
        # without a layer that trains before it, what is hooked would have no gradient; with one, none is needed below
        images.requires_grad_(layers != [HEAD] or not hasattr(model.head, "conv_cam"))
        # float32 throughout: gradients of half precision would need scaling
        with torch.enable_grad(), getattr(methods, TORCHCAM[self.name])(model, layers) as extractor:
            logits = model(images)
            chosen = model.choose(labels, logits.detach().float())
            maps = []
            for number in range(chosen.shape[1]):
                wanted = {"retain_graph": True} if "grad" in self.name or self.name == "layercam" else {}
                cams = extractor(chosen[:, number].tolist(), logits, normalized=False, **wanted)
                size = max((cam.shape[-2:] for cam in cams), key=lambda size: size[0] * size[1])
                maps.append(torch.stack([upsample(cam[:, None].float(), tuple(size))[:, 0] for cam in cams]).mean(0))
        return CAMResult(logits.detach().float(), torch.stack(maps, 1).detach(), chosen)


@dataclass(frozen=True)
class Averaged:
    """The mean of raw maps, and of logits, over views of an image, laid over one another.

    Args:
        method: how the map of a view is made.
        flip: the mirror image too.
        scales: the image at so many times its size.
        ten_crop: four corners and the centre, each of 7/8 of the sides shown at full size, and their mirror
            images (Krizhevsky et al., NIPS 2012), instead of the whole image.
    """

    method: Method
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    ten_crop: bool = False

    CELL = 4  # pixels of the input a step of the common grid

    def __call__(self, model: CAMClassifier, images: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`CAMClassifier.explain`; the maps are at a quarter of the input's resolution."""
        images = images.to(model.device)
        height, width = (side // self.CELL for side in images.shape[-2:])
        if isinstance(labels, str) and labels not in model.classes:  # which classes these are, all views decide
            logits = torch.stack([model.explain(view).logits for view, _, _ in self._views(images)]).mean(0)
            chosen = model.choose(labels, logits)
        else:
            chosen = model.choose(labels, torch.zeros(len(images), len(model.classes), device=model.device))
        votes = []
        total = torch.zeros(len(images), chosen.shape[1], height, width, device=model.device)
        count = torch.zeros(height, width, device=model.device)
        for view, (top, left, bottom, right), mirrored in self._views(images):
            result = self.method(model, view, chosen)
            votes.append(result.logits)
            maps = upsample(result.maps, (bottom - top, right - left))
            total[..., top:bottom, left:right] += maps.flip(-1) if mirrored else maps
            count[top:bottom, left:right] += 1
        return CAMResult(torch.stack(votes).mean(0), total / count.clamp(min=1), chosen)

    def _views(self, images: Tensor) -> Iterator[tuple[Tensor, tuple[int, int, int, int], bool]]:
        """Each view, where it lies on the common grid (top, left, bottom, right), and whether it is mirrored."""
        full = images.shape[-2] // self.CELL, images.shape[-1] // self.CELL
        for scale in self.scales:
            size = tuple(max(32, round(side * scale)) for side in images.shape[-2:])
            whole = images if scale == 1 else F.interpolate(images, size, mode="bilinear", antialias=True)
            for part, place in self._crops(whole, full) if self.ten_crop else [(whole, (0, 0, *full))]:
                yield part, place, False
                if self.flip or self.ten_crop:
                    yield part.flip(-1), place, True

    def _crops(self, images: Tensor, full: tuple[int, int]) -> Iterator[tuple[Tensor, tuple[int, int, int, int]]]:
        size = images.shape[-2:]
        crop = [side * 7 // 8 for side in size]
        rest = [side - part for side, part in zip(size, crop, strict=True)]
        for down, across in ((0, 0), (0, 1), (0.5, 0.5), (1, 0), (1, 1)):
            top, left = round(rest[0] * down), round(rest[1] * across)
            part = images[..., top : top + crop[0], left : left + crop[1]]
            ratio = full[0] / size[0], full[1] / size[1]
            place = (
                round(top * ratio[0]), round(left * ratio[1]),
                round((top + crop[0]) * ratio[0]), round((left + crop[1]) * ratio[1]),
            )  # fmt: skip
            yield F.interpolate(part, tuple(size), mode="bilinear", antialias=True), place
