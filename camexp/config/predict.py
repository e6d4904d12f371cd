"""The options of ``predict.py``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, PositiveInt

from camexp.config.groups import (
    CAMOptions,
    Colormap,
    Compile,
    Debug,
    InferencePrecision,
    InputSize,
    NonEmptyPath,
    NumWorkers,
    OneGpu,
    Share,
    Tile,
    group,
    height_and_width,
)
from camexp.config.options import Options


class MatOptions(Options):
    write: bool = Field(True, description="maps/NAME.mat")
    upsampled: bool = Field(False, description="true: with the maps at the image's own size, 4 bytes a pixel and class")


class MontageOptions(Options):
    images: int = Field(12, ge=0, le=100, description="a page of montage_0001.png; 0: none")
    pages: PositiveInt | None = Field(4, description="at most; null: all")
    tile: Tile = Field(220, description="pixels of a tile's longer side")


class PredictOptions(Options):
    ckpt: NonEmptyPath = Field(
        description="a checkpoint from a training run, or a published network: timm/resnet50, torchvision/resnet50"
    )
    input: Any = Field(description="an image, a folder (with all below it), a glob, or a list of these")
    label: Any = Field(
        "predicted",
        description="predicted, top5 (any number), all, a class by name or number, or a list of classes",
    )
    output: NonEmptyPath = Field("outputs/predict/${now:%Y-%m-%d}/${now:%H-%M-%S}", description="where results go")
    batch_size: int = Field(16, ge=1, le=65536, description="images a forward pass; those of one size go together")
    resize: Literal["trained"] | InputSize | None = Field(
        "trained", description="trained: the size it was trained at; 224 or [H,W]; null: each image's own size"
    )
    gpus: OneGpu = None
    num_workers: NumWorkers = None
    precision: InferencePrecision = "auto"
    compile: Compile = False
    colormap: Colormap = "jet"
    alpha: Share = Field(0.5, description="the heat's share in the overlay")
    colorbar: bool = Field(False, description="at the right of each overlay")
    report: bool = Field(True, description="report.html: every image with its maps, to look at in a browser")
    overlays: bool = Field(True, description="overlays/NAME__CLASS.png")
    npz: bool = Field(False, description="maps/NAME.npz, the same content for NumPy")
    strict: bool = Field(False, description="true: exit code 1 if any image could not be read")
    debug: Debug = False
    mat: MatOptions = Field(MatOptions(), description="the maps for MATLAB")
    montage: MontageOptions = Field(MontageOptions(), description="photographs with their maps beside them")

    cam: CAMOptions = group()

    @property
    def input_size(self) -> tuple[int, int] | None:
        """``(H, W)`` that images are resized to; ``None``: not at all, or as the network was trained."""
        return None if self.resize is None or isinstance(self.resize, str) else height_and_width(self.resize)
