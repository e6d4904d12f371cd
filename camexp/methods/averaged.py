"""Test-time augmentation: the average of any method's maps over views of an image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from camexp.cam.maps import upsample
from camexp.methods.registry import Method, require_layers
from camexp.models.classifier import CAMClassifier, LabelsLike
from camexp.models.result import CAMResult


@dataclass(frozen=True)
class Averaged:
    """The mean of raw maps, and of logits, over views of an image, laid over one another.

    Args:
        method: how the map of a view is made.
        flip: the mirror image too.
        scales: multiples of the image's size.
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
            chosen = model.resolve_labels(labels, logits)
        else:
            chosen = model.resolve_labels(labels, torch.zeros(len(images), len(model.classes), device=model.device))
        votes = []
        total = torch.zeros(len(images), chosen.shape[1], height, width, device=model.device)
        count = torch.zeros(height, width, device=model.device)
        for view, (top, left, bottom, right), mirrored in self._views(images):
            result = self.method(model, view, chosen)
            votes.append(result.logits)
            maps = upsample(result.maps, (bottom - top, right - left))
            total[..., top:bottom, left:right] += maps.flip(-1) if mirrored else maps
            count[top:bottom, left:right] += 1
        return CAMResult(torch.stack(votes).mean(0), total / count.clamp(min=1), chosen, model.classes)

    def require_layers(self, model: CAMClassifier) -> None:
        """See :func:`camexp.methods.require_layers`."""
        require_layers(self.method, model)

    def _views(self, images: Tensor) -> Iterator[tuple[Tensor, tuple[int, int, int, int], bool]]:
        """Each view, where it lies on the common grid (top, left, bottom, right), and whether it is mirrored."""
        full = images.shape[-2] // self.CELL, images.shape[-1] // self.CELL
        for scale in self.scales:
            size = tuple(max(32, round(side * scale)) for side in images.shape[-2:])
            whole = images if scale == 1 else F.interpolate(images, size, mode="bilinear", antialias=True)
            for part, box in self._crops(whole, full) if self.ten_crop else [(whole, (0, 0, *full))]:
                yield part, box, False
                if self.flip or self.ten_crop:
                    yield part.flip(-1), box, True

    def _crops(self, images: Tensor, full: tuple[int, int]) -> Iterator[tuple[Tensor, tuple[int, int, int, int]]]:
        size = images.shape[-2:]
        crop = [side * 7 // 8 for side in size]
        rest = [side - part for side, part in zip(size, crop, strict=True)]
        for down, across in ((0, 0), (0, 1), (0.5, 0.5), (1, 0), (1, 1)):
            top, left = round(rest[0] * down), round(rest[1] * across)
            part = images[..., top : top + crop[0], left : left + crop[1]]
            ratio = full[0] / size[0], full[1] / size[1]
            box = (
                round(top * ratio[0]), round(left * ratio[1]),
                round((top + crop[0]) * ratio[0]), round((left + crop[1]) * ratio[1]),
            )  # fmt: skip
            yield F.interpolate(part, tuple(size), mode="bilinear", antialias=True), box
