"""The groups of ``conf/``, a class each: ``model=``, ``transform=``, ``split=`` …"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator
from typing_extensions import Self

from camexp.config.options import Options, as_written
from camexp.errors import UserError


def group(default: Any = ...) -> Any:
    """A field that Hydra composes from a folder of ``conf/``."""
    return Field(default, json_schema_extra={"group": True})


Share = Annotated[float, Field(ge=0, le=1)]


def _require_size(size: Any) -> Any:
    """``224`` or ``[H, W]``, unchanged.

    Raises:
        ValueError: not that, or less than 32 pixels.
    """
    pair = [size, size] if isinstance(size, int) else list(size) if isinstance(size, Sequence) else []
    if isinstance(size, (str, bool)) or len(pair) != 2 or not all(isinstance(s, int) and 32 <= s <= 8192 for s in pair):
        raise ValueError("is not a size: expected pixels, 32 to 8192, as 224 or [224,320]")
    return size


def require_shard(shard: int | None, shards: int) -> None:
    """Raises:
    UserError: there is no such shard.
    """
    if shard is not None and shard >= shards:
        raise UserError(f"shard={shard} with shards={shards} is none of them: expected 0 to {shards - 1}")


def height_and_width(size: int | list[int]) -> tuple[int, int]:
    """``224`` or ``[H, W]`` as ``(H, W)``.

    >>> height_and_width(224), height_and_width([64, 96])
    ((224, 224), (64, 96))
    """
    height, width = [size, size] if isinstance(size, int) else size
    return height, width


def _require_gpus(gpus: Any) -> Any:
    indices = gpus if isinstance(gpus, list) else []
    sound = all(isinstance(index, int) and not isinstance(index, bool) and index >= 0 for index in indices)
    count = isinstance(gpus, int) and not isinstance(gpus, bool) and gpus >= 0
    if gpus is not None and not count and not (indices and sound and len(set(indices)) == len(indices)):
        raise ValueError("is not a number of GPUs: expected null, 0, 1, 2 … or a list as [0,1]")
    return gpus


def _require_head(head: Any) -> Any:
    if not isinstance(head, (dict, HeadOptions)) and head not in ("cam", "gap"):
        raise ValueError("is not a head: expected cam, gap, or its options as model.head.dropout=0")
    return head


def _require_layers(layers: Any) -> Any:
    named = isinstance(layers, list) and layers and all(isinstance(layer, str) for layer in layers)
    if layers is not None and not (named and len(set(layers)) == len(layers)):
        raise ValueError("is not a list of layers, each named once: expected null, or as [conv4_3,conv5_3]")
    return layers


def _require_scales(scales: Any) -> Any:
    if not isinstance(scales, list) or not scales:
        raise ValueError("is not a list of sizes: expected as [1.0] or [0.75,1.0,1.5]")
    for scale in scales:
        if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.25 <= scale <= 4:
            raise ValueError("is out of range: expected 0.25 to 4 times the input's size")
    return scales


def _require_transform(transform: Any) -> Any:
    if transform and not isinstance(transform, dict):
        raise ValueError("is not a transform: choose transform=resize or transform=augment")
    return transform


def _require_path(path: Any) -> Any:
    if path == "":
        raise ValueError("is empty: give a path")
    return path


InputSize = Annotated[int | list[int], BeforeValidator(_require_size)]
Gpus = Annotated[int | list[int] | None, BeforeValidator(_require_gpus)]
NonEmptyPath = Annotated[str, AfterValidator(_require_path)]
# Lightning's names, and after them its synonyms, which may be numbers
Precision = Annotated[
    Literal["auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "bf16", "16", "64"],
    BeforeValidator(lambda value: str(value)),
]


_POOLS = ("tap", "lse", "gem", "attention")


class HeadOptions(Options):
    kind: Literal["cam", "gap"] = Field(
        "cam", description="gap: without the convolution; model.head=gap has a bias and neither dropout nor l2 besides"
    )
    channels: int = Field(1024, ge=1, le=65536, description="of the 3×3 convolution conv_cam")
    dropout: float = Field(0.5, ge=0, le=0.99, description="of the pooled activations")
    bias: bool = Field(False, description="of the linear layer")
    init_std: float = Field(0.01, ge=1e-8, le=10, description="σ of the truncated normal the head starts from")
    l2: float = Field(0.01, ge=0, le=1e6, description="factor of ½‖w‖² over the head's two weight matrices")
    pool: Literal["gap", "tap", "lse", "gem", "attention"] = Field(
        "gap",
        description="global average; thresholded average; log-sum-exp of the maps; generalised mean; learnt attention. "
        "With gap alone the mean of a map is its logit",
    )
    tap_threshold: float = Field(0.1, ge=0, lt=1, description="θ of tap: the share of a channel's maximum")
    lse_r: float = Field(5.0, ge=1e-3, le=1e3, description="r of lse: 0.001 is nearly the mean, 1000 the maximum")
    gem_p: float = Field(3.0, ge=1, le=100, description="p of gem: 1 is the mean, 100 nearly the maximum")
    attention_channels: int = Field(128, ge=1, le=65536, description="of attention's hidden layer")
    attention_gated: bool = Field(False, description="attention with its gate")
    cells: int = Field(
        1, ge=1, le=16, description="of gap: n×n cells of the image, each with class weights of its own; 1: all one"
    )
    power: float = Field(
        1.0, ge=0.1, le=1, description="of gap: the exponent of the pooled activations; 0.5: their square roots"
    )
    norm: Annotated[float, Field(ge=1e-3, le=1e4)] | None = Field(
        None, description="of gap: the L2 norm that each image's pooled activations are scaled to; null: unscaled"
    )

    @model_validator(mode="after")
    def _is_of_the_pool(self) -> Self:
        for name, field in type(self).model_fields.items():
            pool, _, rest = name.partition("_")
            if rest and pool in _POOLS and pool != self.pool and getattr(self, name) != field.default:
                raise UserError(
                    f"model.head.{name}={as_written(getattr(self, name))} is of model.head.pool={pool}, not of "
                    f"{self.pool}: leave it out, or choose that"
                )
        for name in ("cells", "power", "norm"):
            if self.pool != "gap" and (value := getattr(self, name)) != type(self).model_fields[name].default:
                raise UserError(
                    f"model.head.{name}={as_written(value)} is of model.head.pool=gap, not of {self.pool}: "
                    "leave it out, or choose that"
                )
        return self


class ModelOptions(Options):
    trunk: str = Field("vgg19", description="vgg11 … vgg19, each also with _bn; timm/NAME; torchvision/NAME")
    width: float = Field(
        1.0, ge=1e-3, le=8, description="the share of each convolution's channels; 1 is the published network"
    )
    weights: str | None = Field(
        "imagenet", description="imagenet (torchvision's download), a .npy, .pth, .pt or .safetensors, or null"
    )
    freeze: str = Field(
        "trunk", description="none, trunk, or the first layer to train (conv5_1): all before it is frozen"
    )
    output_stride: int | None = Field(
        None,
        description="16 or 8: finer maps by dilating the last stages, in timm's and torchvision's networks that can",
    )
    out_layers: Annotated[list[str] | None, BeforeValidator(_require_layers)] = Field(
        None,
        description="null: the trunk's last; or [conv4_3,conv5_3]: these side by side, at the finest one's resolution; "
        "of a ViT [norm] or blocks as [blocks.8]",
    )
    head: Annotated[Literal["cam", "gap"] | HeadOptions, BeforeValidator(_require_head)] = Field(
        HeadOptions(), description="model.head=gap: global average pooling and the linear layer alone"
    )

    @model_validator(mode="after")
    def _freezes_what_was_learnt(self) -> Self:
        if self.weights is None and self.freeze != "none":
            raise UserError(
                f"model.freeze={self.freeze} with model.weights=null would freeze random convolutions: "
                "give model.weights=imagenet or a path, or model.freeze=none"
            )
        return self


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


# options that several scripts have
NumWorkers = Annotated[
    Annotated[int, Field(ge=0, le=256)] | None, Field(description="data-loader workers; null: by the number of cores")
]
OneGpu = Annotated[Gpus, Field(description="null: a GPU if there is one, 0: the CPU, 1: a GPU")]
AnyGpus = Annotated[
    Gpus, Field(description="null: a GPU if there is one, 0: the CPU, 1: a GPU, 8 or [0,1]: a shard each")
]
Compile = Annotated[
    bool, Field(description="torch.compile of the trunk: waits first; 5 % faster on a CPU (benchmarks/RESULTS.md)")
]
Colormap = Annotated[str, Field(description="any matplotlib colour map")]
Debug = Annotated[bool, Field(description="show tracebacks")]
InferencePrecision = Annotated[
    Precision, Field(description="bf16-mixed where the device computes in it itself, else 32-true")
]
ResumeOutput = Annotated[
    Literal["auto"] | None, Field(description="auto: go on after the last image whose results in output=DIR are whole")
]
Shards = Annotated[
    PositiveInt,
    Field(description="parts: processes of this machine at once, with -m jobs of their own, with shard=0 one of them"),
]
ShardNumber = Annotated[NonNegativeInt | None, Field(description="which of the shards alone, from 0")]
Tile = Annotated[int, Field(ge=32, le=2000)]
Interval = NonNegativeInt
