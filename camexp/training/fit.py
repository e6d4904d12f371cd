"""A training run from its first step to its last."""

from __future__ import annotations

import atexit
import logging
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from camexp.config import flat
from camexp.errors import UserError, reason
from camexp.files import display_path
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.loggers import log_begin
from camexp.training.module import CAMModule
from camexp.training.report import find_callback
from camexp.training.resume import ResumePoint

log = logging.getLogger(__name__)


def fit(trainer: pl.Trainer, module: CAMModule, datamodule: CAMDataModule, resumed: ResumePoint | None = None) -> None:
    """Train to the end, from where an interrupted run stood. Ctrl-C, SIGTERM and SIGUSR1 save, then raise
    :class:`Interrupted`."""
    classifier = module.classifier
    if trainer.is_global_zero:
        trained = sum(p.numel() for p in classifier.parameters() if p.requires_grad)
        frozen = (
            f"frozen: {', '.join(_ends(classifier.frozen_layers))}" if classifier.frozen_layers else "nothing frozen"
        )
        log.info(
            f"training {trained:,} parameters ({frozen}) on {len(datamodule.split.train)} images, "
            f"validating on {len(datamodule.split.val)}; run folder {display_path(trainer.default_root_dir)}"
        )
        if resumed is None or resumed.path is None:
            config = OmegaConf.to_yaml(OmegaConf.create(module.config))
            log_begin(trainer, config, flat(module.config), localises=datamodule.images.mask is not None)
    if trainer.world_size > 1:
        atexit.register(_leave_process_group)
    path = resumed.path if resumed else None
    with find_callback(trainer, Checkpoints).interrupts:
        try:
            trainer.fit(module, datamodule=datamodule, ckpt_path=None if path is None else str(path))
        except SystemExit:  # so Lightning ends at a second Ctrl-C
            raise KeyboardInterrupt from None
        except MisconfigurationException as error:
            raise UserError(f"trainer: {reason(error)}") from error
        except (RuntimeError, ConnectionError) as error:
            if _is_lost_worker(error, datamodule.num_workers):
                raise _lost_worker(datamodule.num_workers, find_callback(trainer, Checkpoints).last) from error
            if "find_unused_parameters" not in str(error):
                raise
            raise UserError(
                "trainer.strategy: the forward pass leaves parameters of the network unused, whose gradients the other "
                "processes wait for: take trainer.strategy=ddp_find_unused_parameters_true"
            ) from error


def _is_lost_worker(error: Exception, workers: int) -> bool:
    # an error that was raised in a worker is another one: it says where it was caught
    killed = isinstance(error, ConnectionError) or "DataLoader worker (pid" in str(error)
    return workers > 0 and killed and not str(error).startswith("Caught ")


def _lost_worker(workers: int, saved: Path) -> UserError:
    """Of a data loader: the system ends one for want of memory, and the others lose their connection to it."""
    resume = "; resume=auto resumes from the newest checkpoint" if saved.exists() else ""
    return UserError(
        f"one of num_workers={workers} data-loader workers was killed, as where memory or /dev/shm is too small: "
        f"give fewer num_workers (0: none), a smaller batch_size, or more of both (docker run --shm-size){resume}"
    )


def _leave_process_group() -> None:
    """Gloo's threads abort a process that ends in their midst, now and then, though its run has come to its end.
    Lightning sees to NCCL alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _ends(names: list[str]) -> list[str]:
    return names if len(names) < 3 else [f"{names[0]} … {names[-1]}"]
