"""The options of a run, and what is wrong with them told before any image is read."""

from __future__ import annotations

import logging
import warnings

from omegaconf import DictConfig

from camexp.config import TrainOptions
from camexp.config.validation import validated
from camexp.files import display_path
from camexp.training.trainer import require_supported


def read_options(config: DictConfig) -> TrainOptions:
    """The composed configuration, validated."""
    options = validated(config, TrainOptions)
    require_supported(options.trainer.extra)
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
