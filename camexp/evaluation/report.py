"""The figures of an evaluation: on the screen, as files, as curves and as sheets of images."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from camexp.cam.colour import overlay
from camexp.cam.maps import upsample
from camexp.config import EvaluateOptions
from camexp.evaluation.figures import table
from camexp.evaluation.outcome import Outcome
from camexp.evaluation.scores import Scores
from camexp.files import atomic_write, display_path, save_png, write_csv, write_json
from camexp.launching.ranks import CHILD
from camexp.methods import build_normalisation
from camexp.reporting.figures import add_caption, grid, resize_longer_side
from camexp.run_files import EVALUATION, REPORT

log = logging.getLogger(__name__)

TRUE, FOUND = (40, 220, 60), (255, 255, 255)


def report(outcome: Outcome, options: EvaluateOptions) -> dict[str, Any]:
    """Write everything, print the table; returns what ``metrics.json`` holds, of a shard alone nothing."""
    folder = outcome.folder
    if outcome.shard.count > 1:
        if os.environ.get(CHILD) != "shard":  # what started it tells of all
            log.info(f"\nthen: camexp gather {display_path(folder)}   (once all shards are done)")
        return {}
    summaries = outcome.summaries()
    chosen = f"chosen on {options.threshold.source}" if outcome.thresholds else "the best on these images themselves"
    metrics = {
        "methods": summaries,
        "images": len(outcome.images),
        "images_trained_on": outcome.trained_on,
        "label": options.label,
        "scored_at": "native size" if options.scored_size is None else list(options.scored_size),
        "threshold_chosen_on": str(options.threshold.source or "these images"),
        "checkpoint": str(options.ckpt),
        "cam": {key: value for key, value in options.cam.to_dict().items() if key != "method"},
    }
    write_json(folder / EVALUATION, metrics)
    first = next(iter(outcome.scores.values()))
    _write_classes(folder, first)
    boxes = {name: scores.found(summaries[name].get("threshold", 0.0)) for name, scores in outcome.scores.items()}
    _write_images(folder, outcome, boxes)
    _write_curves(folder / "curves.png", outcome.scores)
    if options.sheet.images:
        for name in outcome.scores:
            _write_sheets(folder, name if len(outcome.scores) > 1 else "", outcome, boxes[name], name, options)
    log.info("\n" + table(summaries))
    if any("threshold" in one for one in summaries.values()):
        log.info(f"thresholds: {chosen}")
    if outcome.trained_on:
        log.info(f"the network was trained on {outcome.trained_on} of the {len(outcome.images)} images, by their names")
    log.info(f"results: {folder}")
    if options.report and options.ckpt is not None:
        log.info(f"look at: {folder / REPORT}   (in a browser)")
    if not outcome.thresholds and any("threshold" in one for one in summaries.values()):
        log.info(f"to take these thresholds for other images: threshold.from={folder}")
    return metrics


def _write_classes(folder: Path, scores: Scores) -> None:
    if not scores.top1.update_called:
        return
    recall, confusion = scores.recall.compute().tolist(), scores.confusion.compute()
    counts = confusion.sum(1).tolist()
    rows = [
        (label, name, counts[label], f"{recall[label]:.4f}")
        for label, name in enumerate(scores.classes)
        if counts[label]
    ]
    write_csv(folder / "per_class.csv", ("label", "class", "images", "recall"), rows)
    names = list(scores.classes)
    write_csv(folder / "confusion.csv", ("true\\predicted", *names),
              [(name, *row) for name, row in zip(names, confusion.tolist(), strict=True)])  # fmt: skip


def _write_images(folder: Path, outcome: Outcome, boxes: Mapping[str, list[Any]]) -> None:
    rows = []
    classes, images = outcome.images.classes, outcome.images
    for name, scores in outcome.scores.items():
        for item, found in zip(scores.items, boxes[name], strict=True):
            box, iou = found if found is not None else ((None,) * 4, None)
            rows.append(
                (images.paths[item.index], name, classes[images.labels[item.index]], classes[item.predicted],
                 f"{item.probability:.6f}", *box, None if iou is None else f"{iou:.4f}",
                 None if iou is None else f"{item.paper_iou:.4f}", *item.size)
            )  # fmt: skip
    header = ("path", "method", "class", "predicted", "probability", "x0", "y0", "x1", "y1", "iou",
              "iou_at_20_percent", "scored_height", "scored_width")  # fmt: skip
    write_csv(folder / "per_image.csv", header, rows)


def _write_curves(path: Path, scores: Mapping[str, Scores]) -> None:
    boxed = {name: one for name, one in scores.items() if one.has_boxes}
    masked = {name: one for name, one in scores.items() if one.has_masks}
    if not boxed and not masked:
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * (bool(boxed) + bool(masked)), 4.2), layout="constrained", dpi=110)
    axes = list(figure.subplots(1, bool(boxed) + bool(masked), squeeze=False)[0])
    if boxed:
        axis = axes.pop(0)
        for number, (name, one) in enumerate(boxed.items()):
            for iou, curve, style in zip(
                one.box_acc_v2.ious, one.box_acc_v2.curves().numpy(), (":", "-", "--"), strict=True
            ):
                axis.plot(
                    np.linspace(0, 1, len(curve)), 100 * curve, style, color=f"C{number}", label=f"{name}, IoU ≥ {iou}"
                )
        axis.set(xlabel="threshold", ylabel="images with a right box, %", ylim=(0, 101), xlim=(0, 1))
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    if masked:
        axis = axes.pop(0)
        for name, one in masked.items():
            precision, recall = one.pixels.curves()
            axis.plot(
                100 * recall.numpy(),
                100 * precision.numpy(),
                label=f"{name}, PxAP {100 * float(one.pixels.compute()['PxAP']):.1f}",
            )
        axis.set(xlabel="recall of pixels, %", ylabel="precision of pixels, %", ylim=(0, 101), xlim=(0, 101))
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _write_sheets(
    folder: Path, prefix: str, outcome: Outcome, found: list[Any], name: str, options: EvaluateOptions
) -> None:
    items = outcome.scores[name].items
    ranked = sorted(
        (pair for pair in zip(items, found, strict=True) if pair[1] is not None), key=lambda pair: pair[1][1]
    )
    if not ranked:
        return
    count = min(options.sheet.images, max(1, len(ranked) // 2))
    for kind, chosen in (("worst", ranked[:count]), ("best", ranked[::-1][:count])):
        tiles = [_tile(outcome, item, box, iou, options) for item, (box, iou) in chosen]
        rows = [tiles[start : start + 6] for start in range(0, len(tiles), 6)]
        save_png(
            folder / f"{prefix}{'_' * bool(prefix)}{kind}.png", grid(rows, f"{kind} boxes: true green, found white")
        )


def _tile(outcome: Outcome, item: Any, box: Any, iou: float, options: EvaluateOptions) -> Image.Image:
    path = outcome.images.paths[item.index]
    small = resize_longer_side(outcome.images.read(item.index), options.sheet.tile)
    style = options.colormap, options.alpha, build_normalisation(options.cam)
    heat = upsample(torch.from_numpy(item.maps()[:1])[None], (small.height, small.width))[0, 0].numpy()
    picture = Image.fromarray(overlay(np.asarray(small), heat, *style))
    draw = ImageDraw.Draw(picture)
    height, width = item.size
    scale = np.array([small.width / width, small.height / height] * 2)
    for corners, colour in [*((one, TRUE) for one in item.boxes), (box, FOUND)]:
        x0, y0, x1, y1 = np.add(corners, [0, 0, 1, 1]) * scale
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=colour, width=2)
    return add_caption(
        picture, [f"{outcome.images.classes[outcome.images.labels[item.index]]}/{path.stem}", f"IoU {iou:.2f}"], size=12
    )
