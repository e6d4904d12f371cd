"""Training with Lightning: the step, what watches it, and the parts of a run."""

from pytorch_lightning import seed_everything

from camexp.devices import device_type, select_devices
from camexp.training.build import (
    build_datamodule,
    build_module,
    build_regulariser,
    build_trainer,
    print_classes,
)
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.fit import fit
from camexp.training.inspector import CAMInspector
from camexp.training.module import CAMModule
from camexp.training.options import read_options
from camexp.training.report import report
from camexp.training.resume import find_resume_point

__all__ = [
    "CAMDataModule",
    "CAMInspector",
    "CAMModule",
    "Checkpoints",
    "build_datamodule",
    "build_module",
    "build_regulariser",
    "build_trainer",
    "device_type",
    "find_resume_point",
    "fit",
    "print_classes",
    "read_options",
    "report",
    "seed_everything",
    "select_devices",
]
