"""Training with Lightning: the step, what watches it, and the parts of a run."""

from pytorch_lightning import seed_everything

from camexp.devices import accelerator, device_type
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.inspector import CAMInspector
from camexp.training.module import CAMTraining
from camexp.training.report import report
from camexp.training.resume import find_resumed
from camexp.training.run import (
    build_datamodule,
    build_module,
    build_trainer,
    fit,
    print_classes,
    read_options,
)

__all__ = [
    "CAMDataModule",
    "CAMInspector",
    "CAMTraining",
    "Checkpoints",
    "accelerator",
    "build_datamodule",
    "build_module",
    "build_trainer",
    "device_type",
    "find_resumed",
    "fit",
    "print_classes",
    "read_options",
    "report",
    "seed_everything",
]
