"""The figures that a model card shows: those of an evaluation, or of the run's own end."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camexp.errors import UserError, reason
from camexp.run_files import EVALUATION, SUMMARY

log = logging.getLogger(__name__)

# of an evaluation: key in metrics.json, name in the card; shares in [0, 1]
SHARES = {
    "top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class_recall": "mean class recall",
    "MaxBoxAccV2": "MaxBoxAccV2", "MaxBoxAcc": "MaxBoxAcc", "GT_known_localisation": "GT-known localisation",
    "top1_localisation": "top-1 localisation", "top5_localisation": "top-5 localisation", "PxAP": "PxAP",
    "PxIoU": "PxIoU", "pointing_game": "pointing game",
}  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """Rows of a card's table and where they come from.

    Attributes:
        rows: ``(method, figure, share)``; the method is empty for what no map has a part in.
        source: a clause: on what they were measured.
        own_data: whether that is the data it was trained for, images that it was not trained on.
        steps, train_images, val_images: of the run, where it is known.
    """

    rows: list[tuple[str, str, float]] = field(default_factory=list)
    source: str = ""
    own_data: bool = False
    steps: int | None = None
    train_images: int | None = None
    val_images: int | None = None


def read_evaluation(folder: str | Path, ckpt: str | Path) -> Figures:
    """The figures of ``metrics.json``.

    Args:
        folder: an evaluation's output.
        ckpt: what is exported; figures of another checkpoint are refused.

    Raises:
        UserError: no evaluation there, or one of another checkpoint.
    """
    path = Path(folder).expanduser() / EVALUATION
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        methods = dict(metrics["methods"])
        rows = [
            (str(method), name, float(one[key]))
            for method, one in methods.items()
            for key, name in SHARES.items()
            if isinstance(one.get(key), (int, float)) and math.isfinite(one[key])
        ]
        evaluated, images = Path(str(metrics["checkpoint"])).expanduser(), int(metrics["images"])
        seen = metrics.get("images_trained_on")
        seen = None if seen is None else int(seen)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"evaluation={folder} holds no evaluation ({reason(error)}): give the output folder of one"
        ) from error
    if evaluated.exists() and evaluated.resolve() != Path(ckpt).expanduser().resolve():
        raise UserError(
            f"evaluation={folder} is of another checkpoint, {evaluated}: evaluate ckpt={ckpt}, or leave it out"
        )
    if not evaluated.exists():
        log.warning(f"evaluation={folder} is of {evaluated}, which is not there to compare: its figures are taken")
    chosen = metrics.get("threshold_chosen_on")
    source = f"by an evaluation on {images:,} images"
    if seen is None:
        source += " (whether it was trained on some of them is not known)"
    elif seen:
        source += f", {seen:,} of which it was trained on"
    if any(name.startswith(("MaxBoxAcc", "GT-known")) for _, name, _ in rows):
        best = chosen == "these images"
        source += "; the threshold of the boxes is " + ("the best on these images" if best else "from other images")
    return Figures(rows, source)


def read_run(ckpt: str | Path) -> Figures:
    """What the ``summary.json`` of the run says of this checkpoint; nothing where there is none, or of another step."""
    path = Path(ckpt).expanduser().resolve()
    try:
        summary = json.loads((path.parent.parent / SUMMARY).read_text(encoding="utf-8"))
        counts = {key: int(summary[key]) for key in ("train_images", "val_images")}
        place: Mapping[str, Any] = summary[{"best.ckpt": "best", "last.ckpt": "final"}[path.name]]
        step = int(summary["best"]["step"] if path.name == "best.ckpt" else summary["steps"])
        named = {"val/accuracy": "validation accuracy", "val/pointing": "pointing game"}
        rows = [("", name, float(place[key])) for key, name in named.items() if key in place]
        rows = [row for row in rows if math.isfinite(row[2])]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Figures()
    kind = "its best on them, by which the checkpoint was chosen" if path.name == "best.ckpt" else "at the run's end"
    return Figures(rows, f"on the run's own {counts['val_images']:,} validation images, {kind}", True, step, **counts)
