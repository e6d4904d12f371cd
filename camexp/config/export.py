"""The options of ``camexp export``."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator
from typing_extensions import Self

from camexp.config.options import Options
from camexp.config.values import Debug, NonEmptyPath
from camexp.errors import UserError


def _require_maps(maps: Any) -> Any:
    if not isinstance(maps, str) or not re.fullmatch("all|top[1-9][0-9]{0,5}", maps):
        raise ValueError("is not a choice of maps: expected all, or top5 (any number)")
    return maps


def _require_licence(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}", name):
        raise ValueError("is not a licence's short name: expected as mit, apache-2.0, cc-by-4.0, other or unknown")
    return name.lower()


class ExportOptions(Options):
    ckpt: NonEmptyPath = Field(
        description="a checkpoint from a training run, an exported folder, or a published network: timm/resnet50"
    )
    to: Literal["onnx", "torch_export", "safetensors"] = Field(
        description="model.onnx, model.pt2 (torch.export), or model.safetensors, which camexp.load reads"
    )
    output: NonEmptyPath = Field(
        "outputs/export/${now:%Y-%m-%d}/${now:%H-%M-%S}", description="the folder that is written"
    )
    overwrite: bool = Field(False, description="write into a folder that is not empty, over files of the same names")
    maps: Annotated[str, BeforeValidator(_require_maps)] = Field(
        "all", description="all: of every class; top5 (any number): of the classes with the highest logits, with their "
        "labels"
    )  # fmt: skip
    preprocessing: bool = Field(
        False,
        description="true: the graph takes RGB bytes of any size, resizes them as Pillow does and normalises them",
    )
    int8: bool = Field(False, description="to=onnx: convolutions in 8-bit integers, for processors with VNNI")
    calibration: NonEmptyPath | None = Field(
        None, description="int8: a folder of images like those it will see, from which the ranges are taken"
    )
    calibration_images: PositiveInt = Field(128, le=10000, description="how many of them, of a seeded shuffle")
    images: Any = Field(
        None, description="images (one, a folder, a glob, a list) for the card's maps; null: the run's evolution.png"
    )
    evaluation: NonEmptyPath | None = Field(
        None, description="the output folder of an evaluation, whose figures the card shows"
    )
    license: Annotated[str, AfterValidator(_require_licence)] = Field(
        "unknown", description="the hub's short name of the weights' licence: mit, cc-by-4.0, other …"
    )
    debug: Debug = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.int8 and self.to != "onnx":
            raise UserError(f"int8=true with to={self.to}: 8-bit graphs are written as ONNX, take to=onnx")
        if self.int8 and self.calibration is None:
            raise UserError("int8=true needs images to take its ranges from: add calibration=FOLDER")
        if self.calibration is not None and not self.int8:
            raise UserError(f"calibration={self.calibration} is for int8=true alone: add it, or leave this out")
        if self.to == "safetensors" and (self.maps != "all" or self.preprocessing):
            given = f"maps={self.maps}" if self.maps != "all" else "preprocessing=true"
            raise UserError(f"{given} with to=safetensors: weights have no graph, take to=onnx or to=torch_export")
        return self

    @property
    def top(self) -> int | None:
        """How many maps an image has; ``None`` for all classes."""
        return None if self.maps == "all" else int(self.maps.removeprefix("top"))
