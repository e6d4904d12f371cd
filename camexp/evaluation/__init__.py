"""Measuring maps: localisation, faithfulness, and what ``evaluate.py`` does."""

from camexp.evaluation.components import Components, components
from camexp.evaluation.gather import gather
from camexp.evaluation.inputs import find_images, find_truth, load_model, read_options
from camexp.evaluation.max_box_acc import MaxBoxAcc, best_ious, box_iou
from camexp.evaluation.pixel_precision import PixelPrecision
from camexp.evaluation.pointing_game import PointingGame, peaks_inside
from camexp.evaluation.report import report
from camexp.evaluation.run import evaluate

__all__ = [
    "Components", "MaxBoxAcc", "PixelPrecision", "PointingGame", "best_ious", "box_iou", "components", "evaluate",
    "find_images", "find_truth", "gather", "load_model", "peaks_inside", "read_options", "report",
]  # fmt: skip
