"""The groups of ``conf/``, a class each: ``model=``, ``transform=``, ``split=`` …"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator
from typing_extensions import Self

from camexp.config.options import Options
from camexp.config.values import Gpus, InputSize, height_and_width
from camexp.errors import UserError


def group(default: Any = ...) -> Any:
    """A field that Hydra composes from a folder of ``conf/``."""
    return Field(default, json_schema_extra={"group": True})


def _require_transform(transform: Any) -> Any:
    if transform and not isinstance(transform, dict):
        raise ValueError("is not a transform: choose transform=resize or transform=augment")
    return transform


class TransformOptions(Options):
    size: InputSize = Field(224, description="pixels, or [height, width]")
    train: Annotated[dict[str, Any] | None, BeforeValidator(_require_transform)] = Field(
        None, description="random changes of training images: transform=flip, transform=augment"
    )

    @property
    def input_size(self) -> tuple[int, int]:
        """``(H, W)`` in pixels."""
        return height_and_width(self.size)


class SplitOptions(Options):
    all: bool = Field(False, description="train and validate on all images")
    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = Field(0.2, description="of each class")
    train_per_class: PositiveInt | None = Field(
        None,
        description="train on this many instead, validate on the rest (60: the usual Caltech-256 protocol)",
    )

    @model_validator(mode="after")
    def _splits(self) -> Self:
        if not self.all and self.val_fraction is None and self.train_per_class is None:
            raise UserError(
                "split.val_fraction=null and split.train_per_class=null would split nothing: give one of them"
            )
        return self


class OptimizerOptions(Options):
    lr: float = Field(ge=1e-12, le=1e3, description="the learning rate")
    head_factor: float = Field(1.0, ge=1e-6, le=1e6, description="the head's learning rate is so many times that")

    @property
    def arguments(self) -> dict[str, Any]:
        """``_target_`` and what its class is given."""
        return {key: value for key, value in self.to_dict().items() if key != "head_factor"}


class DatasetOptions(Options):
    classes: Any = Field(None, description="as [llama,duck], or a number: the first of them; null: all")
    max_skipped: float = Field(0.05, ge=0, le=1, description="the share of files that may fail to decode")
    check: bool = Field(True, description="decode every file first (cached from run to run)")
    download: bool = Field(False, description="fetch the archive into dataset.root where it is absent (Caltech-256)")

    @property
    def arguments(self) -> dict[str, Any]:
        """``_target_`` and what its function is given: all but what is done the same way for every data set."""
        return {key: value for key, value in self.to_dict().items() if key not in ("classes", "max_skipped", "check")}


class TrainerOptions(Options):
    gpus: Gpus = Field(None, description="null: all GPUs, or the CPU; 0: the CPU; a number or a list of GPUs")
    cpu_processes: int = Field(1, ge=1, le=256, description="on a CPU: processes that share each batch (DDP over gloo)")
    num_nodes: int = Field(1, ge=1, le=4096, description="machines")
    # others split the weights (FSDP, DeepSpeed), or start the processes themselves (ddp_spawn)
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"] = Field(
        "auto",
        description="how processes share the work: auto is ddp; ddp_find_unused_parameters_true for a network with "
        "parameters that a forward pass does not use",
    )
    max_epochs: PositiveInt | None = Field(25, description="passes over the training images")
    max_steps: PositiveInt | None = Field(None, description="optimizer steps; the lower limit of the two holds")
    check_every_n_steps: Literal["auto"] | PositiveInt | None = Field(
        "auto",
        description="steps between validations: auto is 100, or more so that no more images are validated than trained "
        "on; a shorter epoch is validated at its end, as all are with null",
    )
    log_every_n_steps: PositiveInt = Field(10, description="a row in metrics.csv and in the loggers")
    gradient_clip_val: Annotated[float, Field(ge=0)] | None = Field(None, description="clips the norm of the gradients")

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.max_epochs is None and self.max_steps is None:
            raise UserError("trainer.max_epochs=null and trainer.max_steps=null would never end: give one of them")
        return self


def _require_scales(scales: Any) -> Any:
    if not isinstance(scales, list) or not scales:
        raise ValueError("is not a list of sizes: expected as [1.0] or [0.75,1.0,1.5]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.25 <= scale <= 4:
            raise ValueError("is out of range: expected 0.25 to 4 times the input's size")
    return scales


class CAMOptions(Options):
    method: str = Field("cam", description="the way to a map")
    layer: str | list[str] | None = Field(
        None, description="of torch-cam's methods: a module's name or a list of them; null: the head's activations"
    )
    flip: bool = Field(False, description="average with the map of the mirror image")
    scales: Annotated[list[float], BeforeValidator(_require_scales)] = Field(
        [1.0], description="average over the image at these multiples of its size (0.25 to 4)"
    )
    ten_crop: bool = Field(False, description="average over corners, centre and their mirror images")
    negatives: Literal["keep", "clamp_weights", "clamp_map"] = Field(
        "keep", description="negative class weights (of plain CAM) or negative values of the map become 0"
    )
    affinity: str | None = Field(
        None,
        description="each place takes the mean of places that look like it in this layer of the trunk (conv4_3), which "
        "follows outlines; auto: the last layer of twice the map's resolution",
    )
    normalise: Literal["minmax", "max", "percentile", "ivr"] = Field(
        "minmax",
        description="what becomes 0 and 1 in pictures and for thresholds: minimum and maximum; 0 and maximum; 0 and a "
        "percentile (PaS); a percentile and the maximum (IVR)",
    )
    percentile: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None, description="of percentile and ivr; null: as published, 90 and 30"
    )

    @model_validator(mode="after")
    def _has_a_percentile(self) -> Self:
        if self.percentile is not None and self.normalise not in ("percentile", "ivr"):
            raise UserError(
                f"cam.percentile={self.percentile:g} is of cam.normalise=percentile and ivr, not of {self.normalise}: "
                "leave it out, or choose one of them"
            )
        return self


class FeatureOptions(Options):
    cache: bool | str | None = Field("auto", description="auto: outputs/features; off; or a folder")
    dtype: Literal["float16", "bfloat16", "float32"] = Field("float16", description="of what is stored")
    max_gb: float = Field(20, ge=0, le=1e6, description="of the whole folder; the stores unused for longest go first")
