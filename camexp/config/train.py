"""The options of ``train.py``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from camexp.config.groups import (
    CAMOptions,
    DatasetOptions,
    FeatureOptions,
    OptimizerOptions,
    SplitOptions,
    TrainerOptions,
    TransformOptions,
    group,
)
from camexp.config.model import ModelOptions
from camexp.config.options import Options
from camexp.config.values import Colormap, Compile, Debug, Interval, NumWorkers, Precision, Share


class InspectOptions(Options):
    image: str | list[str] | None = Field(
        None, description="a path or a list of them; null: the first validation image"
    )
    label: Any = Field(
        None, description="a class by name or number, a list of them, or a list for each image; null: its own"
    )
    every_n_steps: Interval = Field(50, description="0: at the first and the last step only")
    colormap: Colormap = "jet"
    alpha: Share = Field(0.5, description="the heat's share in the overlay")


class CheckpointOptions(Options):
    every_n_steps: Interval = Field(100, description="step_000100.ckpt …; 0: none")
    keep: PositiveInt | None = Field(5, description="how many of them, the newest; null: all")


class LossOptions(Options):
    label_smoothing: Share = Field(0.0, description="the share of each target that goes to all classes alike, as 0.1")


class TrainOptions(Options):
    command: Literal["train", "classes"] = Field("train", description="or classes: print the classes and stop")
    batch_size: int = Field(32, ge=1, le=65536, description="images a step, over all devices together")
    num_workers: NumWorkers = None
    seed: int = Field(
        0, ge=0, le=2**31, description="of the split, the initial weights, the order of the images, dropout"
    )
    precision: Precision = Field(
        "auto",
        description="bf16-mixed where the device computes in it itself, else 32-true, as while a trunk trains on a CPU",
    )
    compile: Compile = False
    resume: Literal["auto"] | None = Field(
        None, description="auto: resume the run in hydra.run.dir exactly where its newest checkpoint left it"
    )
    debug: Debug = False
    report: bool = Field(
        True, description="report.html, rewritten while it trains: curves, and the inspected images' maps at every step"
    )
    run_dir: str = Field("${hydra:runtime.output_dir}", description="set by hydra.run.dir=DIR")
    inspect: InspectOptions = Field(
        InspectOptions(), description="the fixed image whose map is drawn while the network trains"
    )
    loss: LossOptions = Field(LossOptions(), description="the cross-entropy that is minimised, beside model.head.l2")
    checkpoint: CheckpointOptions = Field(CheckpointOptions(), description="best.ckpt and last.ckpt are always written")
    features: FeatureOptions = Field(
        FeatureOptions(),
        description="of a frozen trunk: computed in the first epoch, read in all others and in later runs",
    )

    model: ModelOptions = group()
    transform: TransformOptions = group()
    split: SplitOptions = group()
    optimizer: OptimizerOptions = group()
    scheduler: dict[str, Any] | None = group()
    regularise: dict[str, Any] | None = group(None)
    trainer: TrainerOptions = group()
    cam: CAMOptions = group()
    callbacks: dict[str, Any] | None = group()
    logger: dict[str, Any] | None = group()
    dataset: DatasetOptions = group()
