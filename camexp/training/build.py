"""The parts of a training run, from its options."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from camexp.config import CAMOptions, TrainOptions
from camexp.config.instantiate import instantiate
from camexp.config.train import InspectOptions
from camexp.data import ImageSet, Split, UnreadableImage, class_table, read_image
from camexp.devices import device_type, world_size
from camexp.errors import UserError
from camexp.features import open_cache
from camexp.files import display_path
from camexp.labels import labels_as_text
from camexp.launching.optuna_study import current_trial
from camexp.methods import build_method, build_normalisation, refuse_observer, require_layers
from camexp.models import CAMClassifier
from camexp.regularisation import Regulariser
from camexp.run_files import CAM_MAPS, CAM_STEPS, CAMS, CHECKPOINTS, METRICS
from camexp.training.checkpoints import Checkpoints
from camexp.training.datamodule import CAMDataModule
from camexp.training.extra_callbacks import LOGGED, require_monitored
from camexp.training.inspector import CAMInspector, pair_labels
from camexp.training.loggers import MetricsCSV
from camexp.training.module import CAMModule
from camexp.training.options import build_transform
from camexp.training.progress import TrainingProgress
from camexp.training.pruning import Pruning
from camexp.training.report import RunReport
from camexp.training.resume import ResumeCallback, ResumePoint
from camexp.training.resume_checks import (
    image_digest,
    image_names,
    require_same_images,
    require_same_trunk,
    require_steps_to_come,
)
from camexp.training.tensorboard import continued
from camexp.training.trainer import build_lightning_trainer, total_steps

log = logging.getLogger(__name__)

Devices = Mapping[str, Any]


def print_classes(images: ImageSet, split: Split) -> None:
    """The table that ``command=classes`` asks for."""
    rows = [("label", "name", "train", "val"), *class_table(images, split)]
    width = max(len(str(row[1])) for row in rows)
    log.info("\n".join(f"{label:>5}  {name:<{width}}  {train:>6}  {val:>6}" for label, name, train, val in rows))


def build_regulariser(options: TrainOptions, classifier: CAMClassifier) -> Regulariser | None:
    """The ``regularise`` group's method, attached to the network; ``None`` for none."""
    if not options.regularise:
        return None
    regulariser: Regulariser = instantiate(options.regularise, "regularise")
    regulariser.attach(classifier)
    return regulariser


def build_datamodule(
    options: TrainOptions,
    images: ImageSet,
    split: Split,
    classifier: CAMClassifier,
    devices: Devices,
    regulariser: Regulariser | None = None,
) -> CAMDataModule:
    """Batches in the form the network wants, with the training images' random changes."""
    transform = build_transform(options.transform)
    return CAMDataModule(
        images,
        split,
        classifier.preprocessing,
        transform=transform,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        seed=options.seed,
        world_size=world_size(dict(devices), options.trainer.num_nodes),
        features=open_cache(
            options.features,
            classifier,
            transform,
            device_type(devices),
            recur=regulariser is None or regulariser.features_recur,
        ),
    )


def build_module(
    options: TrainOptions,
    classifier: CAMClassifier,
    datamodule: CAMDataModule,
    regulariser: Regulariser | None = None,
) -> CAMModule:
    """The training step with its optimizer and schedule."""
    scheduler, factor = options.scheduler, options.optimizer.head_factor
    return CAMModule(
        classifier,
        make_optimizer=instantiate(options.optimizer.arguments, "optimizer", _partial_=True),
        make_scheduler=instantiate(scheduler, "scheduler", _partial_=True) if scheduler else None,
        steps_per_epoch=datamodule.steps_per_epoch,
        total_steps=total_steps(options.trainer, datamodule.steps_per_epoch),
        seed=options.seed,
        config=options.to_dict(),
        features=datamodule.features,
        images=datamodule.images,
        head_lr=None if factor == 1 else options.optimizer.lr * factor,
        regulariser=regulariser,
        label_smoothing=options.loss.label_smoothing,
    )


def build_trainer(
    options: TrainOptions,
    devices: Devices,
    datamodule: CAMDataModule,
    classifier: CAMClassifier,
    resumed: ResumePoint | None = None,
) -> pl.Trainer:
    """A Trainer with everything that watches: progress, snapshots, checkpoints, loggers; set to where an interrupted
    run resumes."""
    run_folder = Path(options.run_dir)
    digest = image_digest(datamodule.images, datamodule.split)
    checkpoints = Checkpoints(
        run_folder / CHECKPOINTS,
        options.checkpoint.every_n_steps,
        options.checkpoint.keep,
        written=(run_folder / METRICS, run_folder / CAMS / CAM_STEPS, run_folder / CAMS / CAM_MAPS),
        images=digest,
        names=image_names(datamodule.images, datamodule.split),
    )
    if resumed is not None:
        require_same_images(resumed.images, digest, datamodule.images.given)
        require_same_trunk(resumed.path, classifier)
        require_steps_to_come(resumed.path, resumed.step, options.trainer, datamodule.steps_per_epoch)
        checkpoints.position = resumed.position
        datamodule.start = resumed.position.epoch, resumed.position.batch
    callbacks: list[pl.Callback] = [
        ResumeCallback(resumed, datamodule, run_folder),
        TrainingProgress(total_steps(options.trainer, datamodule.steps_per_epoch)),
        build_inspector(options.inspect, datamodule, classifier, run_folder / CAMS, options.cam, options.report),
    ]
    if options.report:
        callbacks.append(RunReport(options, datamodule))
    if datamodule.images.mask is None:
        require_monitored(options.callbacks, [name for name in LOGGED if name != "val/pointing"])
    for name, extra in (options.callbacks or {}).items():
        if extra is not None:  # callbacks.early_stopping=null leaves out what a preset has
            callbacks.append(instantiate(extra, f"callbacks.{name}"))
    trial = current_trial()
    if trial is not None:
        callbacks.append(Pruning(trial))
    callbacks.append(checkpoints)  # last, so that what the others know is saved with it
    loggers = [build_logger(name, one, resumed) for name, one in (options.logger or {}).items() if one is not None]
    return build_lightning_trainer(
        options.trainer,
        devices,
        classifier.precision,
        datamodule.steps_per_epoch,
        callbacks,
        [MetricsCSV(run_folder / METRICS), *loggers],
        run_folder,
        validation_batches=-(-len(datamodule.split.val) // datamodule.batch_size),
    )


def build_logger(name: str, node: Mapping[str, Any], resumed: ResumePoint | None) -> Logger:
    """One of the ``logger`` group; TensorBoard then hides what an interrupted run wrote after its checkpoint."""
    if resumed is not None and str(node.get("_target_", "")).endswith("TensorBoardLogger"):
        node = {**node, **continued(node, resumed.step if resumed.path else None)}
    return instantiate(node, f"logger={name}")


def build_inspector(
    inspect: InspectOptions,
    datamodule: CAMDataModule,
    classifier: CAMClassifier,
    folder: Path,
    cam: CAMOptions,
    record: bool = True,
) -> CAMInspector:
    """The snapshot callback; by default on the first validation image with its own label."""
    require_layers(method := build_method(cam), classifier)
    refuse_observer(method, cam.method)
    images = datamodule.images
    indices: list[int | None]
    if inspect.image is None:
        indices = [datamodule.split.val[0]]
        paths = [images.paths[datamodule.split.val[0]]]
    else:
        given = inspect.image if isinstance(inspect.image, list) else [inspect.image]
        paths = [Path(str(path)).expanduser() for path in given]
        indices = [images.find(path) for path in paths]
    if not paths:
        raise UserError("inspect.image=[] names no image: leave it out for the first validation image")
    pictures = []
    for path, index in zip(paths, indices, strict=True):
        if not path.is_file() and (index is None or images.source is None):
            raise UserError(f"inspect.image={path} is not a file: give the path of an image")
        try:
            pictures.append(read_image(path) if index is None else images.read(index))
        except UnreadableImage as error:
            raise UserError(f"inspect.image={path} cannot be decoded ({error}): give another image") from error
    own = [None if index is None else images.labels[index] for index in indices]
    return CAMInspector(
        pictures,
        pair_labels(len(paths), labels_as_text(inspect.label), own),
        images.classes,
        folder,
        inspect.every_n_steps,
        inspect.colormap,
        inspect.alpha,
        method,
        [display_path(path) for path in paths] if record else None,
        own,
        build_normalisation(cam),
    )
