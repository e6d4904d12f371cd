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
MEANS = {
    "top1": "the likeliest class is the true one",
    "top5": "the true class is among the five likeliest",
    "mean_class_recall": "recognised images of a class, each class counting the same",
    "MaxBoxAccV2": "images of which a box fits, each IoU at its own best threshold, the mean of three",
    "MaxBoxAcc": "images whose box fits a true one by at least a half, at the best threshold",
    "threshold": "a share of the map between its minimum and its maximum",
    "GT_known_localisation": "the box fits by at least a half, of the map of the evaluated class",
    "top1_localisation": "the box fits, and the likeliest class is the true one",
    "top5_localisation": "the box fits, and the true class is among the five likeliest",
    "GT_known_localisation_at_20_percent": "the same, boxes at 20 % of the map's maximum (Zhou et al., CVPR 2016)",
    "top1_localisation_at_20_percent": "the same, boxes at 20 % of the map's maximum",
    "top5_localisation_at_20_percent": "the same, boxes at 20 % of the map's maximum",
    "PxAP": "average precision of the map's pixels against the mask, over all thresholds",
    "PxIoU": "overlap of the map's pixels with the mask, at the best threshold",
    "pointing_game": "the map's highest point lies on the object",
    "insertion": "probability of the class as the hottest pixels are put in first",
    "deletion": "probability of the class as the hottest pixels are taken away first",
    "average_drop": "what the class's probability loses where only the hot pixels are seen",
    "increase": "images whose class becomes likelier where only the hot pixels are seen",
    "seconds_per_image": "of the network and the method, scoring apart",
}  # what each is, in a line
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
