"""``report.html`` of an evaluation: its figures, and every image with its maps, to look at in a browser."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camexp import __version__
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.config import EvaluateOptions
from camexp.data import ImageSet
from camexp.evaluation.box_curve import PER_UNIT, POINTS, BoxCurve, box_curve
from camexp.evaluation.components import Components
from camexp.evaluation.figures import LOWER, MEANS, ROWS
from camexp.evaluation.ground_truth import GroundTruth
from camexp.evaluation.scored_image import ScoredImage
from camexp.evaluation.scores import Scores
from camexp.methods import build_normalisation, describe_maps, is_cam
from camexp.methods.registry import Method
from camexp.models import CAMClassifier, CAMResult
from camexp.run_files import REPORT
from camexp.viewer import GALLERY, ImageReport, is_finite, item, meta, pack_maps, pack_mask, page_photograph
from camexp.viewer.budget import TOP
from camexp.viewer.items import as_base64

log = logging.getLogger(__name__)

SCRIPTS = (*GALLERY, "charts", "table", "matrix", "boxes", "compare", "threshold", "curves", "evaluation")
THRESHOLD = {
    "minmax": "a share of the map between its minimum and its maximum (Choe et al., CVPR 2020)",
    "max": "a share of the map's maximum (Zhou et al., CVPR 2016)",
    "percentile": "a share of a percentile of the map (Bae et al., ECCV 2020)",
    "ivr": "a share of the map between a percentile and its maximum (Kim et al., ICCV 2021)",
}
MOST_BYTES = 12e6  # of all maps of a report; a photograph takes about as much as 80 maps of 14×14


class EvaluationReport:
    """The page, to which images are added as they are scored: an image once all methods have been.

    Args:
        add: takes each image's item, in the order of the images.
        images, truth: what is evaluated.
        methods: by name; none: maps that were made elsewhere.
        normalisation: what of a map is 0 and 1 for thresholds.
    """

    def __init__(
        self, add: Callable[[dict[str, Any]], None], images: ImageSet, truth: GroundTruth,
        methods: Mapping[str, Method], normalisation: Normalisation = MIN_MAX,
    ):  # fmt: skip
        self.add, self.images, self.truth, self.normalisation = add, images, truth, normalisation
        self.names = list(methods) or ["heatmaps"]
        self.plain = {name for name, method in methods.items() if is_cam(method)}
        self._waiting: dict[int, dict[str, Any]] = {}

    def explain(self, model: CAMClassifier, activations: Tensor, indices: Sequence[int], evaluated: CAMResult) -> None:
        """Keep the maps of plain CAM until the images are scored: of all classes, or of the likeliest and those
        that are ``evaluated``."""
        count, classes = len(self.images), len(model.classes)
        area = activations.shape[-2] * activations.shape[-1]
        some = torch.cat([evaluated.logits.topk(min(TOP, classes), dim=1).indices, evaluated.labels], 1)
        every = count * area * (classes + len(self.names) - 1) <= MOST_BYTES
        result = model.explain_activations(activations, "all" if every else some)
        logits, maps, labels = (part.float().cpu().numpy() for part in (result.logits, result.maps, result.labels))
        for row, index in enumerate(indices):
            own, first = np.unique(labels[row].astype(int), return_index=True)
            self._waiting[index] = {"logits": logits[row], "maps": maps[row, first], "labels": own}

    def scored(
        self, name: str, image: ScoredImage, maps: NDArray[np.float32], labels: Sequence[int], parts: list[Components],
        mask: Tensor | None = None, ignore: Tensor | None = None,
    ) -> None:  # fmt: skip
        """One method's maps ``(K, h, w)`` and labels ``(K,)`` of one image, and the largest part of each; the image's
        true mask and what of it to ignore, ``(H, W)`` of its own size."""
        kept = self._waiting[image.index]
        if mask is not None and "masks" not in kept:
            kept["masks"] = {"mask": pack_mask(mask.numpy())}
            if ignore is not None:  # as in the figures, the object itself is never ignored
                kept["masks"]["ignored"] = pack_mask((ignore & ~mask).numpy())
        curve = None if image.boxes is None else box_curve(parts, image.boxes)
        fits, methods = kept.setdefault("fits", {}), kept.setdefault("methods", {})
        if curve is not None:
            fits[name] = as_base64(curve.levels())
        if len(maps):
            methods[name] = {"labels": [int(label) for label in labels], **({} if curve is None else _boxes(curve))}
            if name not in self.plain and np.isfinite(maps).all():
                methods[name]["maps"] = pack_maps(maps, self.normalisation)
        kept.setdefault("done", []).append(name)
        if len(kept["done"]) == len(self.names):
            self._add(image, self._waiting.pop(image.index))

    def _add(self, image: ScoredImage, kept: dict[str, Any]) -> None:
        path, index, root = self.images.paths[image.index], image.index, self.images.root
        if not is_finite(kept["logits"], kept["maps"]):
            log.warning(f"{path} is left out of {REPORT}: its maps or logits are not finite (try precision=32-true)")
            return
        photo = self.images.read(index)
        size = (photo.height, photo.width)
        boxes, _ = self.truth.scaled_boxes(index, None)
        self.add(item(
            path.name, str(path.relative_to(root) if path.is_relative_to(root) else path), size,
            page_photograph(photo, len(self.images)), kept["logits"], kept["maps"], kept["labels"],
            self.images.labels[index], [] if boxes is None else np.round(boxes).tolist(),
            self.normalisation, fits=kept["fits"], methods=kept["methods"], scored=list(image.size),
            **kept.get("masks", {}),
        ))  # fmt: skip


def write_report(
    path: Path, model: CAMClassifier, images: ImageSet, options: EvaluateOptions, figures: Mapping[str, Any],
    items: Iterable[dict[str, Any]],
) -> None:  # fmt: skip
    """``report.html``.

    Args:
        path: where.
        model: that was evaluated.
        images: on which.
        options: how.
        figures: see :func:`figures_page`.
        items: the images.
    """
    identity, normalisation = model.head.mean_is_logit, build_normalisation(options.cam)
    page = {
        "subtitle": f"{len(images)} image{'s' if len(images) != 1 else ''}, {Path(str(options.ckpt)).name}",
        "meta": meta(
            model.classes, identity, "Maps of plain CAM", options.colormap, options.alpha, normalisation=normalisation
        ),
        **figures,
    }
    with ImageReport(path, len(images), "How well the maps fit", page, SCRIPTS) as report:
        for number, one in enumerate(items):
            report.add(number, one)


def figures_page(
    summaries: Mapping[str, Mapping[str, Any]],
    options: EvaluateOptions,
    images: int,
    trained_on: int | None,
    pool: str = "gap",
) -> dict[str, Any]:
    """What the page says besides its images.

    Args:
        summaries: of each method, see :meth:`camexp.evaluation.scores.Scores.summary`.
        images: how many there are.
        trained_on: how many of them the network was trained on; ``None``: not known.
        pool: of the network's head.

    >>> options = EvaluateOptions(ckpt="a.ckpt", cam={"method": "cam"})
    >>> page = figures_page({"cam": {"top1": 0.5, "threshold": 0.12}}, options, 3, 0)
    >>> page["figures"][0]["name"], page["figures"][0]["values"], page["thresholds"]
    ('top-1 accuracy', [0.5], {'cam': 0.12})
    """
    figures = [
        {
            "name": text.strip(), "means": MEANS[key], "share": key not in ("threshold", "seconds_per_image"),
            "lower": key in LOWER,
            "values": [None if one.get(key) is None else float(f"{one[key]:.6g}") for one in summaries.values()],
        }
        for key, text in ROWS.items() if any(one.get(key) is not None for one in summaries.values())
    ]  # fmt: skip
    scored = options.scored_size
    source = options.threshold.source
    facts = [
        ("checkpoint", options.ckpt or "none"),
        ("methods", ", ".join(summaries)),
        ("whose map", {"true": "the true class's", "predicted": "the predicted class's"}.get(
            options.label, "the best of the first five classes'")),
        ("compared at", "each image's own size" if scored is None else f"{scored[0]} × {scored[1]} pixels"),
        ("maps", describe_maps(options.cam.model_copy(update={"method": ", ".join(summaries)}), pool)),
        ("threshold", THRESHOLD[options.cam.normalise]),
        ("threshold chosen on", source or "these images themselves, the best for each method"),
        ("box", "around the largest part of the map at or above the threshold"),
        ("images the network was trained on",
         "not known" if trained_on is None else f"{trained_on} of {images}, by their names"),
        ("camexp", __version__),
    ]  # fmt: skip
    return {
        "facts": [(name, str(value)) for name, value in facts], "methods": list(summaries), "figures": figures,
        "thresholds": {name: one["threshold"] for name, one in summaries.items() if "threshold" in one},
        "elsewhere": source is not None, "points": POINTS, "perUnit": PER_UNIT,
    }  # fmt: skip


def page_curves(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """The data set's curves at ``POINTS`` thresholds from 0 to 1, of the methods that were measured so.

    Args:
        scores: of each method.

    Returns:
        ``ious``, the δ of MaxBoxAccV2; ``boxes``: method → for each δ the share of images of which a box of any part is
        right; ``pixels``: method → ``precision``, ``recall`` and ``iou``. Shares in [0, 1].
    """
    boxed = {name: one.box_acc_v2 for name, one in scores.items() if one.has_boxes}
    masked = {name: one.pixels for name, one in scores.items() if one.has_masks}
    return {
        "ious": next((list(one.ious) for one in boxed.values()), []),
        "boxes": {name: [_shown(curve) for curve in one.curves()] for name, one in boxed.items()},
        "pixels": {
            name: dict(zip(("precision", "recall", "iou"), map(_shown, (*one.curves(), one.ious())), strict=True))
            for name, one in masked.items()
        },
    }  # fmt: skip


def _shown(curve: Tensor) -> list[float]:
    """What a page shows of a curve over all thresholds."""
    return [round(value, 5) for value in curve[:: (len(curve) - 1) // (POINTS - 1)].tolist()]


def _boxes(curve: BoxCurve) -> dict[str, Any]:
    """In as few bytes as the largest corner needs."""
    size = "u1" if curve.boxes.max() < 256 else "<u2"
    packed = {"boxes": as_base64(curve.boxes.astype(size)), "bytes": 1 if size == "u1" else 2}
    return packed if not curve.which.any() else {**packed, "which": as_base64(curve.which)}
