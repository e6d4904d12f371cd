"""The parts of a training run, from options to the last step."""

from __future__ import annotations

import atexit
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from camexp.config import TrainOptions
from camexp.config.instantiate import instantiate
from camexp.config.train import InspectOptions
from camexp.config.validation import validated
from camexp.data import ImageSet, Split, UnreadableImage, class_table, read_image
from camexp.devices import device_type, world_size
from camexp.errors import UserError, reason
from camexp.features import open_cache
from camexp.files import shown
from camexp.labels import as_typed
from camexp.launching.trials import own_trial
from camexp.methods import Method, build_method
from camexp.models import CAMClassifier
from camexp.run_files import CAM_STEPS, CAMS, CHECKPOINTS, METRICS
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.inspector import CAMInspector, pair_labels
from camexp.training.loggers import MetricsCSV, log_text
from camexp.training.module import CAMTraining
from camexp.training.progress import TrainingProgress
from camexp.training.pruning import Pruning
from camexp.training.report import find_callback
from camexp.training.resume import GoOn, Resumed, image_digest, require_same_images, require_same_trunk
from camexp.training.trainer import build_trainer as lightning_trainer
from camexp.training.trainer import total_steps

log = logging.getLogger(__name__)

Devices = Mapping[str, Any]


def read_options(config: DictConfig) -> TrainOptions:
    """The composed configuration, validated."""
    options = validated(config, TrainOptions)
    options.run_dir = shown(options.run_dir)
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)  # which GPUs there are and tips are no news
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")  # frozen layers are
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # torchmetrics have summed them already
    warnings.filterwarnings("ignore", message=".*treespec.*")
    warnings.filterwarnings("ignore", message=".*dataloader is not resumable.*")  # ours begins where it is told to
    warnings.filterwarnings("ignore", message=".*number of training batches.*smaller than the logging interval.*")
    return options


def print_classes(images: ImageSet, split: Split) -> None:
    """The table that ``command=classes`` asks for."""
    rows = [("label", "name", "train", "val"), *class_table(images, split)]
    width = max(len(str(row[1])) for row in rows)
    log.info("\n".join(f"{label:>5}  {name:<{width}}  {train:>6}  {val:>6}" for label, name, train, val in rows))


def build_datamodule(
    options: TrainOptions, images: ImageSet, split: Split, classifier: CAMClassifier, devices: Devices
) -> CAMDataModule:
    """Batches in the form the network wants, with the training images' random changes."""
    transform = None
    if options.transform.train:
        transform = instantiate({**options.transform.train, "size": list(options.transform.input_size)}, "transform")
    return CAMDataModule(
        images,
        split,
        classifier.preprocessing,
        transform=transform,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        seed=options.seed,
        world_size=world_size(dict(devices), options.trainer.num_nodes),
        features=open_cache(options.features, classifier, transform, device_type(devices)),
    )


def build_module(options: TrainOptions, classifier: CAMClassifier, datamodule: CAMDataModule) -> CAMTraining:
    """The training step with its optimizer and schedule."""
    scheduler = options.scheduler
    return CAMTraining(
        classifier,
        make_optimizer=instantiate(options.optimizer.to_dict(), "optimizer", _partial_=True),
        make_scheduler=instantiate(scheduler, "scheduler", _partial_=True) if scheduler else None,
        steps_per_epoch=datamodule.steps_per_epoch,
        total_steps=total_steps(options.trainer, datamodule.steps_per_epoch),
        seed=options.seed,
        config=options.to_dict(),
        features=datamodule.features,
    )


def build_trainer(
    options: TrainOptions,
    devices: Devices,
    datamodule: CAMDataModule,
    classifier: CAMClassifier,
    resumed: Resumed | None = None,
) -> pl.Trainer:
    """A Trainer with everything that watches: progress, snapshots, checkpoints, loggers; set to where an interrupted
    run goes on."""
    run_folder = Path(options.run_dir)
    digest = image_digest(datamodule.images, datamodule.split)
    checkpoints = Checkpoints(
        run_folder / CHECKPOINTS,
        options.checkpoint.every_n_steps,
        options.checkpoint.keep,
        written=(run_folder / METRICS, run_folder / CAMS / CAM_STEPS),
        images=digest,
    )
    if resumed is not None:
        require_same_images(resumed, digest, datamodule.images.root)
        require_same_trunk(resumed, classifier)
        checkpoints.position = resumed.position
        datamodule.start = resumed.position.epoch, resumed.position.batch
    callbacks: list[pl.Callback] = [
        GoOn(resumed, datamodule, run_folder),
        TrainingProgress(total_steps(options.trainer, datamodule.steps_per_epoch)),
        build_inspector(options.inspect, datamodule, classifier, run_folder / CAMS, build_method(options.cam)),
    ]
    for name, extra in (options.callbacks or {}).items():
        callbacks.append(instantiate(extra, f"callbacks.{name}"))
    trial = own_trial()
    if trial is not None:
        callbacks.append(Pruning(trial))
    callbacks.append(checkpoints)  # last, so that what the others know is saved with it
    loggers = [build_logger(name, one, resumed) for name, one in (options.logger or {}).items()]
    return lightning_trainer(
        options.trainer,
        devices,
        classifier.precision,
        datamodule.steps_per_epoch,
        callbacks,
        [MetricsCSV(run_folder / METRICS), *loggers],
        run_folder,
        validation_batches=-(-len(datamodule.split.val) // datamodule.batch_size),
    )


def build_logger(name: str, node: Mapping[str, Any], resumed: Resumed | None) -> Logger:
    """One of the ``logger`` group; TensorBoard then hides what an interrupted run wrote after its checkpoint."""
    tensorboard = resumed is not None and str(node.get("_target_", "")).endswith("TensorBoardLogger")
    purge = {"purge_step": resumed.step + 1 if resumed.path else 0} if tensorboard and resumed else {}
    return instantiate({**node, **purge}, f"logger={name}")


def build_inspector(
    inspect: InspectOptions,
    datamodule: CAMDataModule,
    classifier: CAMClassifier,
    folder: Path,
    method: Method = CAMClassifier.explain,
) -> CAMInspector:
    """The snapshot callback; by default on the first validation image with its own label."""
    images = datamodule.images
    if inspect.image is None:
        paths = [images.paths[datamodule.split.val[0]]]
    else:
        given = inspect.image if isinstance(inspect.image, list) else [inspect.image]
        paths = [Path(str(path)).expanduser() for path in given]
    if not paths:
        raise UserError("inspect.image=[] names no image: leave it out for the first validation image")
    pictures = []
    for path in paths:
        if not path.is_file():
            raise UserError(f"inspect.image={path} is not a file: give the path of an image")
        try:
            pictures.append(read_image(path))
        except UnreadableImage as error:
            raise UserError(f"inspect.image={path} cannot be decoded ({error}): give another image") from error
    own = [None if (place := images.find(path)) is None else images.labels[place] for path in paths]
    return CAMInspector(
        pictures,
        pair_labels(len(paths), as_typed(inspect.label), own),
        images.classes,
        folder,
        inspect.every_n_steps,
        inspect.colormap,
        inspect.alpha,
        method,
    )


def fit(trainer: pl.Trainer, module: CAMTraining, datamodule: CAMDataModule, resumed: Resumed | None = None) -> None:
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
            f"checking on {len(datamodule.split.val)}; run folder {shown(trainer.default_root_dir)}"
        )
        if resumed is None or resumed.path is None:
            log_text(trainer, "config", OmegaConf.to_yaml(OmegaConf.create(module.config)))
    if trainer.world_size > 1:
        atexit.register(_leave_process_group)
    path = resumed.path if resumed else None
    with find_callback(trainer, Checkpoints).interrupts:
        try:
            trainer.fit(module, datamodule=datamodule, ckpt_path=None if path is None else str(path))
        except SystemExit:  # so Lightning ends at a second Ctrl-C
            raise KeyboardInterrupt from None
        except MisconfigurationException as error:  # as when max_epochs lies before the checkpoint
            raise UserError(f"trainer: {reason(error)}") from error
        except RuntimeError as error:
            if "find_unused_parameters" not in str(error):
                raise
            raise UserError(
                "trainer.strategy: a pass leaves parameters of the network unused, whose gradients the other processes "
                "wait for: take trainer.strategy=ddp_find_unused_parameters_true"
            ) from error


def _leave_process_group() -> None:
    """Gloo's threads abort a process that ends in their midst, now and then, though its run has come to its end.
    Lightning sees to NCCL alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _ends(names: list[str]) -> list[str]:
    return names if len(names) < 3 else [f"{names[0]} … {names[-1]}"]
