"""The options of ``evaluate.py``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, model_validator
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


class ThresholdOptions(Options):
    source: Any = Field(
        None,
        alias="from",
        description="a folder of an earlier evaluation whose best threshold is taken, instead of this data's own",
    )


class FaithfulnessOptions(Options):
    images: NonNegativeInt = Field(
        0, description="how many images are measured (the first of a seeded shuffle); 0: none"
    )
    steps: int = Field(32, ge=1, le=1000, description="forward passes for each of insertion and deletion")


class SheetOptions(Options):
    images: int = Field(
        24, ge=0, le=200, description="on each of the sheets of the best and of the worst; 0: no sheets"
    )
    tile: Tile = Field(200, description="pixels of a tile's longer side")


class EvaluateOptions(Options):
    ckpt: NonEmptyPath | None = Field(None, description="a checkpoint from a training run")
    output: NonEmptyPath = Field("outputs/evaluate/${now:%Y-%m-%d}/${now:%H-%M-%S}", description="where results go")
    part: Literal["all", "train", "val", "test"] | None = Field(
        None,
        description="by the data set's own lists, else by the checkpoint's split; null: val if there is one, else all",
    )
    boxes: str | None = Field(
        None,
        description="true boxes: CSV, folder of VOC XML or Caltech-101 .mat, COCO JSON, WSOL localization.txt",
    )
    masks: str | None = Field(
        None,
        description="a folder of true masks, PATH/IMAGE.png (not 0: the object), and IMAGE_ignore.png if need be",
    )
    label: Annotated[
        Literal["true", "predicted", "top5"], BeforeValidator(lambda value: "true" if value is True else value)
    ] = Field("true", description="whose map; top5: the best of the first five")
    cams: list[str] | None = Field(None, description="several methods; set by cam=a,b")
    heatmaps: str | None = Field(
        None,
        description="a folder of maps made elsewhere, PATH/IMAGE.npy, .npz, .mat or .png, instead of the network's; "
        "without ckpt no report.html is written",
    )
    size: Literal["native"] | InputSize = Field(
        224,
        description="maps, boxes and masks are compared at 224×224 (the protocol); native: each image's own size",
    )
    components_by: Literal["tree", "contours"] = Field(
        "tree", description="contours: OpenCV's, exactly as the reference evaluator (slow)"
    )
    batch_size: int = Field(32, ge=1, le=65536, description="images a forward pass")
    resize: Literal["trained"] | InputSize = Field(
        "trained", description="trained: the size it was trained at; 224 or [H,W]"
    )
    gpus: AnyGpus = None
    num_workers: NumWorkers = None
    precision: InferencePrecision = "auto"
    compile: Compile = False
    report: bool = Field(
        True, description="report.html: figures, curves, confusions and every image with its maps, for a browser"
    )
    colormap: Colormap = "jet"
    alpha: Share = Field(0.5, description="the heat's share on the sheets and in the report")
    resume: ResumeOutput = None
    shards: Shards = 1
    shard: ShardNumber = None
    debug: Debug = False
    threshold: ThresholdOptions = Field(ThresholdOptions(), description="of boxes")
    faithfulness: FaithfulnessOptions = Field(
        FaithfulnessOptions(), description="insertion, deletion, average drop and increase"
    )
    features: FeatureOptions = Field(FeatureOptions(), description="of plain CAM: stored as train.py stores them")
    sheet: SheetOptions = Field(SheetOptions(), description="of the best and of the worst boxes")

    dataset: DatasetOptions | None = group(None)
    cam: CAMOptions = group()

    @property
    def scored_size(self) -> tuple[int, int] | None:
        """``(H, W)`` at which maps, boxes and masks are compared; ``None``: each image's own."""
        return None if isinstance(self.size, str) else height_and_width(self.size)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """``(H, W)`` that images are resized to; ``None`` where the network's own is taken."""
        return None if isinstance(self.resize, str) else height_and_width(self.resize)

    @model_validator(mode="after")
    def _is_one_of_the_shards(self) -> Self:
        require_shard(self.shard, self.shards)
        return self

    @model_validator(mode="after")
    def _has_maps(self) -> Self:
        if self.ckpt is None and self.heatmaps is None:
            raise UserError("ckpt is not given: add ckpt=FILE, a checkpoint from a training run, or heatmaps=DIR")
        if self.ckpt is None and self.dataset is None:
            raise UserError("dataset is not given: add dataset=imagefolder dataset.root=DIR")
        return self
