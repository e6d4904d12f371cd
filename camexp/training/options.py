"""The options of a run, and what is wrong with them told before any image is read."""

from __future__ import annotations

import logging
import warnings

from omegaconf import DictConfig

from camexp.config import TrainOptions, TransformOptions
from camexp.config.arguments import require_arguments
from camexp.config.instantiate import instantiate
from camexp.config.validation import validated
from camexp.data.transforms import Transform
from camexp.files import display_path
from camexp.training.extra_callbacks import require_callbacks
from camexp.training.optimization import require_optimization
from camexp.training.trainer import require_supported


def read_options(config: DictConfig) -> TrainOptions:
    """The composed configuration, validated."""
    options = validated(config, TrainOptions)
    require_supported(options.trainer.extra)
    require_optimization(options)
    require_callbacks(options.callbacks)
    build_transform(options.transform)
    if options.regularise:
        require_arguments(options.regularise, "regularise")
    options.run_dir = display_path(options.run_dir)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # which GPUs there are and tips are no news
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen layers are
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # torchmetrics have summed them already
    warnings.filterwarnings("ignore", message=".*treespec.*")
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")  # ours begins where it is told to
    warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
    return options


def build_transform(options: TransformOptions) -> Transform | None:
    """The random changes of training images; ``None`` for none."""
    if not options.train:
        return None
    require_arguments(options.train, "transform.train")
    transform: Transform = instantiate({**options.train, "size": list(options.input_size)}, "transform")
    return transform
