"""The options of ``predict.py``."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, PositiveInt, model_validator
from typing_extensions import Self

from camexp.config.groups import CAMOptions, DatasetOptions, FeatureOptions, group
from camexp.config.options import Options
from camexp.config.values import (
    AnyGpus,
    Colormap,
    Compile,
    Debug,
    InferencePrecision,
    InputSize,
    NonEmptyPath,
    NumWorkers,
    ResumeOutput,
    ShardNumber,
    Shards,
    Share,
    Tile,
    height_and_width,
    require_shard,
)
from camexp.errors import UserError

AnnotationFormat = Literal["coco", "yolo", "voc", "masks"]


def _require_formats(formats: Any) -> Any:
    """One word as a list of it, unchanged otherwise.

    Raises:
        ValueError: not a list of known formats.
    """
    listed = [formats] if isinstance(formats, str) else formats
    known = get_args(AnnotationFormat)
    if not isinstance(listed, list) or any(one not in known for one in listed):
        raise ValueError(f"is not known: expected {', '.join(known[:-1])} or {known[-1]}, or a list of these")
    return list(dict.fromkeys(listed))


class MatOptions(Options):
    write: bool = Field(True, description="maps/NAME.mat")
    upsampled: bool = Field(False, description="true: with the maps at the image's own size, 4 bytes a pixel and class")


class MontageOptions(Options):
    images: int = Field(12, ge=0, le=100, description="a page of montage_0001.png; 0: none")
    pages: PositiveInt | None = Field(4, description="at most; null: all")
    tile: Tile = Field(220, description="pixels of a tile's longer side")


class AnnotationThreshold(Options):
    source: Any = Field(None, alias="from", description="a folder of an evaluation, whose best threshold is taken")
    value: Share | None = Field(None, description="or the threshold itself, of the map normalised to [0, 1]")


class ObjectOptions(Options):
    parts: Literal["largest", "all"] = Field("largest", description="of a map's connected parts above the threshold")
    min_area: Share = Field(0.01, description="smaller parts are dropped; a share of the image's area")
    min_probability: Share = Field(0.0, description="less probable classes are not annotated")


class PredictFeatureOptions(FeatureOptions):
    # off: results must not depend on what is stored, which is rounded
    cache: bool | str | None = Field("off", description="auto: outputs/features; off; or a folder")


class PredictOptions(Options):
    ckpt: NonEmptyPath = Field(
        description="a checkpoint from a training run, or a published network: timm/resnet50, torchvision/resnet50"
    )
    input: Any = Field(
        None, description="an image, a folder (with all below it), a glob, or a list of these; or give dataset=…"
    )
    part: Literal["all", "train", "val", "test"] = Field("all", description="of a data set that names its own parts")
    label: Any = Field(
        "predicted",
        description="predicted, top5 (any number), all, a class by name or number, or a list of classes",
    )
    output: NonEmptyPath = Field("outputs/predict/${now:%Y-%m-%d}/${now:%H-%M-%S}", description="where results go")
    batch_size: int = Field(16, ge=1, le=65536, description="images a forward pass; those of one size go together")
    resize: Literal["trained"] | InputSize | None = Field(
        "trained", description="trained: the size it was trained at; 224 or [H,W]; null: each image's own size"
    )
    gpus: AnyGpus = None
    num_workers: NumWorkers = None
    precision: InferencePrecision = "auto"
    compile: Compile = False
    colormap: Colormap = "jet"
    alpha: Share = Field(0.5, description="the heat's share in the overlay")
    colorbar: bool = Field(False, description="at the right of each overlay")
    report: bool = Field(True, description="report.html: every image with its maps, to look at in a browser")
    overlays: bool = Field(True, description="overlays/NAME__CLASS.png")
    npz: bool = Field(False, description="maps/NAME.npz, the same content for NumPy")
    annotations: Annotated[list[AnnotationFormat], BeforeValidator(_require_formats)] = Field(
        [], description="weak labels, annotations/FORMAT: coco, yolo, voc, masks, or a list of these"
    )
    format: Literal["files", "parquet", "safetensors"] | None = Field(
        None,
        description="files: overlays and maps, a file each; parquet, safetensors: maps in a few large ones; null: "
        "files, of up to 20000 images",
    )
    resume: ResumeOutput = None
    shards: Shards = 1
    shard: ShardNumber = None
    strict: bool = Field(False, description="true: exit code 1 if any image could not be read")
    debug: Debug = False
    mat: MatOptions = Field(MatOptions(), description="the maps for MATLAB")
    montage: MontageOptions = Field(MontageOptions(), description="photographs with their maps beside them")

    features: PredictFeatureOptions = Field(
        PredictFeatureOptions(),
        description="of the trunk, stored as train.py stores them: a second prediction of the images computes the head "
        "alone; rounded to features.dtype",
    )
    threshold: AnnotationThreshold = Field(AnnotationThreshold(), description="of annotations")
    objects: ObjectOptions = Field(ObjectOptions(), description="what is annotated")

    dataset: DatasetOptions | None = group(None)
    cam: CAMOptions = group()

    @property
    def input_size(self) -> tuple[int, int] | None:
        """``(H, W)`` that images are resized to; ``None``: not at all, or as the network was trained."""
        return None if self.resize is None or isinstance(self.resize, str) else height_and_width(self.resize)

    @property
    def in_few_files(self) -> bool:
        """Whether maps of many images share a file."""
        return self.format in ("parquet", "safetensors")

    @model_validator(mode="after")
    def _has_images(self) -> Self:
        if self.input is None and self.dataset is None:
            raise UserError("input is not given: add input=PATH, an image, a folder or a glob, or dataset=…")
        if self.part != "all" and self.dataset is None:
            raise UserError(f"part={self.part} is of a data set, not of input={self.input}: leave it out")
        if self.input is not None and self.dataset is not None:
            raise UserError(f"input={self.input} and dataset=… are two sources of images: give one of them")
        return self

    @model_validator(mode="after")
    def _is_one_of_the_shards(self) -> Self:
        require_shard(self.shard, self.shards)
        return self

    @model_validator(mode="after")
    def _has_one_threshold(self) -> Self:
        source, value = self.threshold.source, self.threshold.value
        way_out = "give threshold.from=DIR, the output folder of an evaluation, or threshold.value=0.3"
        if self.annotations and source is None and value is None:
            raise UserError(f"annotations={_listed(self.annotations)} needs a threshold: {way_out}")
        if source is not None and value is not None:
            raise UserError(f"threshold.from={source} and threshold.value={value} are two thresholds: give one of them")
        if not self.annotations and (source is not None or value is not None):
            given = f"threshold.value={value}" if source is None else f"threshold.from={source}"
            raise UserError(
                f"{given} is of annotations, and none are asked for: add annotations=coco, yolo, voc or masks"
            )
        return self


def _listed(formats: list[AnnotationFormat]) -> str:
    return formats[0] if len(formats) == 1 else f"[{','.join(formats)}]"
