"""Maps for any image and any class: what ``predict.py`` does."""

from camexp.prediction.gather import gather
from camexp.prediction.inputs import find_images, find_inputs, unlabelled
from camexp.prediction.run import predict, report
from camexp.prediction.setup import load_model, processes, read_options, require_divisible

__all__ = [
    "find_images", "find_inputs", "gather", "load_model", "predict", "processes", "read_options", "report",
    "require_divisible", "unlabelled",
]  # fmt: skip
