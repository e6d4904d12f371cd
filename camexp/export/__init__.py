"""Trained networks for other programs: ONNX, torch.export and the hub's layout, checked and with a model card."""

from camexp.export.check import Compared
from camexp.export.graph import CAMGraph
from camexp.export.resize import PillowResize
from camexp.export.run import Exported, load_model, read_options, report, write

__all__ = ["CAMGraph", "Compared", "Exported", "PillowResize", "load_model", "read_options", "report", "write"]
