"""The options of a prediction, and the network that they name."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from camexp.cam.colour import colour_map
from camexp.config import EvaluateOptions, PredictOptions
from camexp.config.validation import validated
from camexp.devices import select_device, select_devices
from camexp.errors import UserError
from camexp.methods import build_method, observer
from camexp.models import CAMClassifier, Preprocessing, load
from camexp.prediction.annotations import find_threshold, require_new
from camexp.prediction.parquet import import_pyarrow
from camexp.prediction.tensors import import_safetensors


def read_options(config: DictConfig) -> PredictOptions:
    """The composed configuration, validated."""
    options = validated(config, PredictOptions)
    colour_map(options.colormap)
    build_method(options.cam)
    if options.annotations:
        find_threshold(options)
        if options.resume is None and options.shard is None:
            require_new(options)
    if options.format in (needs := {"parquet": import_pyarrow, "safetensors": import_safetensors}):
        needs[options.format]()
    require_divisible(options)
    return options


def require_divisible(options: PredictOptions | EvaluateOptions) -> None:
    """Shards must not know of each other.

    Raises:
        UserError: a method that looks at all images first.
    """
    methods = getattr(options, "cams", None) or [options.cam.method]
    for name in methods:
        if options.shards > 1 and observer(build_method(options.cam.model_copy(update={"method": name}))):
            raise UserError(
                f"cam={name} takes what all images have in common, and shards={options.shards} would give each shard "
                "its own: leave shards out, or take cam=pc1"
            )


def processes(options: PredictOptions | EvaluateOptions) -> tuple[int, list[int]]:
    """How many processes share the images, and the GPUs they are spread over: of ``gpus=8`` or ``shards=8``, unless
    this is one of them.

    Raises:
        UserError: more GPUs than there are.
    """
    if options.shard is not None:
        return 1, []
    gpus = options.gpus
    several = (gpus is not None and not isinstance(gpus, int) and len(gpus) > 1) or (isinstance(gpus, int) and gpus > 1)
    if not several:
        return options.shards, []
    devices = select_devices(gpus, option="gpus")["devices"]
    listed = list(range(devices)) if isinstance(devices, int) else list(devices)
    return (options.shards if options.shards > 1 else len(listed)), listed


def load_model(options: PredictOptions | EvaluateOptions) -> CAMClassifier:
    """The network on its device, frozen, its preprocessing set to ``resize``."""
    device = select_device(options.gpus)
    model = load(Path(str(options.ckpt)).expanduser(), device, options.precision, options.compile)
    model.freeze("trunk")  # nothing trains here: gradients need not go further down than the method's layer
    if options.resize != "trained":
        old = model.preprocessing
        model.preprocessing = Preprocessing(options.input_size, old.mean, old.std)
    return model
