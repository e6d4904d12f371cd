"""What the scripts can be told: every option with its default, its range and its help, in one place.

A class a group or section of ``conf/``. ``python -m camexp.config`` writes defaults and comments into the YAML
files that Hydra composes; what is composed is validated against the same classes, and ``--help`` lists them.
"""

from camexp.config.evaluate import EvaluateOptions
from camexp.config.explore import ExploreOptions
from camexp.config.export import ExportOptions
from camexp.config.groups import (
    CAMOptions,
    DatasetOptions,
    FeatureOptions,
    OptimizerOptions,
    SplitOptions,
    TrainerOptions,
    TransformOptions,
)
from camexp.config.model import HeadOptions, ModelOptions
from camexp.config.options import Options, flat
from camexp.config.predict import PredictOptions
from camexp.config.train import TrainOptions

# of each command that Hydra composes, by its name, which is that of its YAML file
COMMAND_OPTIONS: dict[str, type[Options]] = {
    "train": TrainOptions,
    "predict": PredictOptions,
    "evaluate": EvaluateOptions,
    "export": ExportOptions,
    "explore": ExploreOptions,
}

__all__ = [
    "COMMAND_OPTIONS",
    "CAMOptions",
    "DatasetOptions",
    "EvaluateOptions",
    "ExploreOptions",
    "ExportOptions",
    "FeatureOptions",
    "HeadOptions",
    "ModelOptions",
    "OptimizerOptions",
    "Options",
    "PredictOptions",
    "SplitOptions",
    "TrainOptions",
    "TrainerOptions",
    "TransformOptions",
    "flat",
]
