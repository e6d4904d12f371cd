"""The figures of an evaluation: how they are called, and methods side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# what stands in the table, and how it is called there
ROWS = {
    "top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class_recall": "mean class recall",
    "MaxBoxAccV2": "MaxBoxAccV2 (IoU 0.3, 0.5, 0.7; all components)",
    "MaxBoxAcc": "MaxBoxAcc (IoU 0.5; largest component)",
    "threshold": "  at the threshold", "GT_known_localisation": "GT-known localisation",
    "top1_localisation": "top-1 localisation", "top5_localisation": "top-5 localisation",
    "GT_known_localisation_at_20_percent": "GT-known localisation, box at 20 %",
    "top1_localisation_at_20_percent": "top-1 localisation, box at 20 %",
    "top5_localisation_at_20_percent": "top-5 localisation, box at 20 %",
    "PxAP": "PxAP", "PxIoU": "PxIoU", "pointing_game": "pointing game",
    "insertion": "insertion (higher is better)", "deletion": "deletion (lower is better)",
    "average_drop": "average drop (lower is better)", "increase": "increase in confidence (higher is better)",
    "seconds_per_image": "seconds an image",
}  # fmt: skip
LABEL = 48  # letters of the longest of these, and a space


# of which less is better; of the others more is
LOWER = ("deletion", "average_drop", "seconds_per_image")


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """Methods side by side, shares in percent.

    >>> print(table({"cam": {"top1": 0.5, "seconds_per_image": 0.25}, "gradcam": {"seconds_per_image": 1}}))
                                                           cam  gradcam
      top-1 accuracy                                     50.00
      seconds an image                                  0.2500   1.0000
    """
    width = max(8, *(len(name) + 2 for name in summaries))
    lines = [" " * (2 + LABEL) + "".join(f"{name:>{width}}" for name in summaries)]
    for key, name in ROWS.items():
        if not any(key in one for one in summaries.values()):
            continue
        cells = []
        for one in summaries.values():
            value = one.get(key)
            plain = key in ("seconds_per_image", "threshold")
            text = "" if value is None else f"{value:.4f}" if plain else f"{100 * value:.2f}"
            cells.append(f"{text:>{width}}")
        lines.append(f"  {name:{LABEL}}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)
