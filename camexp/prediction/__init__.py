"""Maps for any image and any class: what ``predict.py`` does."""

from camexp.prediction.inputs import find_inputs
from camexp.prediction.run import load_model, predict, read_options, report

__all__ = ["find_inputs", "load_model", "predict", "read_options", "report"]
