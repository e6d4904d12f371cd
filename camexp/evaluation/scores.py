"""Everything that is measured of one method's maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassRecall

from camexp.cam.maps import upsample
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.data.box_formats import Boxes
from camexp.evaluation.components import Components, components, largest_box
from camexp.evaluation.contours import contours
from camexp.evaluation.faithfulness import Faithfulness
from camexp.evaluation.max_box_acc import MaxBoxAcc, best_ious, box_iou
from camexp.evaluation.pixel_precision import PixelPrecision, resize_mask
from camexp.evaluation.pointing_game import PointingGame
from camexp.evaluation.scored_image import ScoredImage
from camexp.evaluation.spooled_maps import SpooledMaps


@dataclass
class Scores:
    """The metrics of one method.

    Args:
        classes: the class names.
        by_contours: parts as the reference evaluator finds them.
        normalisation: what of a map is 0 and 1 for thresholds.
    """

    classes: Sequence[str]
    by_contours: bool = False
    normalisation: Normalisation = MIN_MAX
    seconds: float = 0.0
    items: list[ScoredImage] = field(default_factory=list)
    spooled: SpooledMaps = field(default_factory=SpooledMaps)
    _found: dict[float, list[tuple[NDArray[np.int16], float] | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.classes)
        self.box_acc, self.box_acc_v2 = MaxBoxAcc((0.5,)), MaxBoxAcc((0.3, 0.5, 0.7))
        self.pixels, self.pointing = PixelPrecision(), PointingGame()
        self.faithfulness = Faithfulness()
        self.top1 = MulticlassAccuracy(count, average="micro")
        self.top5 = MulticlassAccuracy(count, average="micro", top_k=min(5, count))
        self.recall = MulticlassRecall(count, average=None)
        self.confusion = MulticlassConfusionMatrix(count)

    @property
    def _metrics(self) -> dict[str, Metric]:
        names = (
            "box_acc", "box_acc_v2", "pixels", "pointing", "faithfulness", "top1", "top5", "recall", "confusion",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def sums(self) -> dict[str, Tensor]:
        """The state of each metric that was updated: a sum over images, by ``METRIC.STATE``."""
        return {
            f"{name}.{key}": value
            for name, metric in self._metrics.items() if metric.update_called
            for key, value in metric.metric_state.items() if isinstance(value, Tensor)
        }  # fmt: skip

    def add_sums(self, sums: Mapping[str, Tensor]) -> None:
        """Add the sums of other images, see :meth:`sums`."""
        for key, value in sums.items():
            name, _, state = key.partition(".")
            metric = self._metrics[name]
            setattr(metric, state, getattr(metric, state) + value)
            metric._update_count += 1  # else it warns that nothing was measured
            metric._computed = None

    def classify(self, logits: Tensor, labels: Tensor) -> None:
        """``(B, C)`` and ``(B,)``."""
        for metric in (self.top1, self.top5, self.recall, self.confusion):
            metric.update(logits, labels)

    def localise(
        self, item: ScoredImage, maps: NDArray[np.float32], mask: Tensor | None = None, ignore: Tensor | None = None
    ) -> list[Components]:
        """Score one image's maps ``(K, h, w)`` against its boxes and its mask ``(H, W)``, if it has them.

        Returns:
            The largest part of each map at all thresholds, where there are boxes.
        """
        self.items.append(item)
        every, largest, largest_parts = [], [], []
        for cam in torch.from_numpy(maps):
            scaled = upsample_and_normalise(cam, item.size, self.normalisation)
            if item.boxes is not None:
                parts = self.parts(scaled.numpy())
                every.append(best_ious(parts, item.boxes))
                largest_parts.append(parts.largest())
                largest.append(best_ious(largest_parts[-1], item.boxes))
            if mask is not None and len(maps) == 1:
                self._pixels(scaled, mask, ignore)
                at_mask = upsample_and_normalise(cam, (mask.shape[0], mask.shape[1]))
                self.pointing.update(at_mask[None], mask[None])
            elif item.boxes is not None and len(maps) == 1:
                self.pointing.update(scaled[None], _filled(item.boxes, item.size)[None])
        if item.boxes is not None:
            # of several maps the best one counts
            self.box_acc_v2.update(torch.from_numpy(np.max(every, 0))[None])
            self.box_acc.update(torch.from_numpy(np.max(largest, 0))[None])
        return largest_parts

    def _pixels(self, scaled: Tensor, mask: Tensor, ignore: Tensor | None) -> None:
        """At the size that is scored at; the object itself is never ignored, as the reference evaluator has it."""
        size = scaled.shape[0], scaled.shape[1]
        mask = resize_mask(mask, size)[None]
        self.pixels.update(scaled[None], mask, None if ignore is None else resize_mask(ignore, size)[None] & ~mask)

    def parts(self, cam: NDArray[np.float32]) -> Components:
        """The connected parts of a map in [0, 1] at all thresholds."""
        return contours(cam) if self.by_contours else components(cam)

    def found(self, threshold: float) -> list[tuple[NDArray[np.int16], float] | None]:
        """Of each image the box of the largest part at a threshold, of the map that fits best, and its IoU;
        ``None`` where there are no true boxes."""
        if threshold not in self._found:
            self._found[threshold] = [
                None if item.boxes is None else self._best_box(item, item.boxes, threshold) for item in self.items
            ]
        return self._found[threshold]

    def _best_box(self, item: ScoredImage, truth: Boxes, threshold: float) -> tuple[NDArray[np.int16], float]:
        level = round(threshold * self.box_acc.steps)
        best = np.zeros(4, np.int16), 0.0
        for cam in torch.from_numpy(item.maps()):
            scaled = upsample_and_normalise(cam, item.size, self.normalisation).numpy()
            if self.by_contours:
                part = self.parts(scaled).at(level).largest()
                box = part.boxes[0] if len(part.boxes) else None
            else:
                box = largest_box(scaled, level, self.box_acc.steps)
            if box is not None and (iou := float(box_iou([box], truth).max())) >= best[1]:
                best = box, iou
        return best

    @property
    def has_boxes(self) -> bool:
        """Whether any image had true boxes."""
        return bool(int(self.box_acc.total))

    @property
    def has_masks(self) -> bool:
        """Whether any image had a true mask."""
        return bool(int(self.pixels.histograms.sum()))

    def summary(self, thresholds: Mapping[str, float] | None = None) -> dict[str, Any]:
        """All figures, shares in [0, 1].

        Args:
            thresholds: of ``MaxBoxAcc`` and ``MaxBoxAccV2``, chosen elsewhere; ``None``: the best on these images.
        """
        result: dict[str, Any] = {}
        if self.top1.update_called:
            seen = self.confusion.compute().sum(1) > 0
            result |= {
                "top1": float(self.top1.compute()),
                "top5": float(self.top5.compute()),
                "mean_class_recall": float(self.recall.compute()[seen].mean()),
            }
        if self.has_boxes:
            result |= self._boxes(thresholds)
        if self.has_masks:
            result |= {name: float(value) for name, value in self.pixels.compute().items()}
        if int(self.pointing.total):
            result["pointing_game"] = float(self.pointing.compute())
        if int(self.faithfulness.total):
            result |= {name: float(value) for name, value in self.faithfulness.compute().items()}
        result["seconds_per_image"] = self.seconds / max(1, len(self.items))
        return result

    def _boxes(self, thresholds: Mapping[str, float] | None) -> dict[str, Any]:
        best, best_v2 = self.box_acc.best_threshold(), self.box_acc_v2.best_threshold()
        if thresholds is None:
            taken, by_iou = best, self.box_acc_v2.per_iou()  # each IoU at its own best threshold
            acc = self.box_acc.compute()
        else:
            taken = thresholds["MaxBoxAcc"]
            acc = self.box_acc.curves()[0, round(taken * self.box_acc.steps)]
            by_iou = self.box_acc_v2.curves()[:, round(thresholds["MaxBoxAccV2"] * self.box_acc_v2.steps)]
        scored = [item for item in self.items if item.boxes is not None]
        right = np.array([found[1] >= 0.5 for found in self.found(taken) if found is not None])
        paper = np.array([item.paper_iou >= 0.5 for item in scored])
        rank = np.array([item.rank for item in scored])
        result: dict[str, Any] = {
            "MaxBoxAcc": float(acc),
            "MaxBoxAccV2": float(by_iou.mean()),
            "MaxBoxAccV2_by_iou": dict(zip(map(str, self.box_acc_v2.ious), by_iou.tolist(), strict=True)),
            "best_threshold": best,
            "best_threshold_v2": best_v2,
            "threshold": taken,
            "images_with_boxes": len(scored),
        }
        for name, known in (("GT_known", 10**9), ("top1", 1), ("top5", 5)):
            result[f"{name}_localisation"] = float((right & (rank < known)).mean())
            result[f"{name}_localisation_at_20_percent"] = float((paper & (rank < known)).mean())
        return result


def upsample_and_normalise(cam: Tensor, size: tuple[int, int], normalisation: Normalisation = MIN_MAX) -> Tensor:
    """A map ``(h, w)`` upsampled to ``(H, W)``, then normalised: in this order, as the protocol has it."""
    return normalisation(cam if cam.shape == size else upsample(cam[None, None], size)[0, 0])


def _filled(boxes: Boxes, size: tuple[int, int]) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    for x0, y0, x1, y1 in np.round(boxes).astype(int):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask
