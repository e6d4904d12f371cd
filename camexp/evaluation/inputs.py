"""From a checkpoint, images and truth to figures: what ``evaluate.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from camexp.config import EvaluateOptions
from camexp.config.validation import validated
from camexp.data import ImageSet, build_images
from camexp.errors import UserError
from camexp.evaluation.checkpoint_dataset import recorded_dataset
from camexp.evaluation.ground_truth import GroundTruth, dataset_truth, load_truth
from camexp.evaluation.trained_images import part_indices
from camexp.methods import Method, build_method
from camexp.models import CAMClassifier
from camexp.models.checkpoint import read_config
from camexp.prediction import load_model as load_frozen
from camexp.prediction import require_divisible
from camexp.prediction.thresholds import read_thresholds

log = logging.getLogger(__name__)


def read_options(config: DictConfig) -> EvaluateOptions:
    """The composed configuration, validated."""
    options = validated(config, EvaluateOptions)
    read_thresholds(options.threshold.source, method_names(options))
    require_divisible(options)
    return options


def method_names(options: EvaluateOptions) -> list[str]:
    """What is compared, as the figures call it."""
    return list(build_methods(options)) or ["heatmaps"]


def build_methods(options: EvaluateOptions) -> dict[str, Method]:
    """The methods to compare, by name."""
    if options.heatmaps is not None:
        return {}
    names = options.cams or [options.cam.method]
    return {name: build_method(options.cam.model_copy(update={"method": name})) for name in names}


def load_model(options: EvaluateOptions) -> tuple[CAMClassifier | None, dict[str, Any]]:
    """The network on its device, and the configuration it was trained with."""
    if options.ckpt is None:
        return None, {}
    return load_frozen(options), read_config(Path(str(options.ckpt)).expanduser())


def find_images(options: EvaluateOptions, model: CAMClassifier | None, trained: Mapping[str, Any]) -> ImageSet:
    """The images to measure on, with the network's labels."""
    own = options.dataset is None
    if own and "dataset" not in trained:
        raise UserError("dataset is not given, and the checkpoint does not say what it was trained on: add dataset=…")
    images = build_images(options.dataset or recorded_dataset(trained["dataset"]), options.output)
    part = options.part or ("val" if own or len(images.in_part("val")) else "all")
    if part != "all":
        images = replace(images.take(part_indices(images, part, trained, options.ckpt)), among=images.paths)
    log.info(f"measuring on {len(images)} images (part={part})")
    return images if model is None else relabelled(images, model)


def relabelled(images: ImageSet, model: CAMClassifier) -> ImageSet:
    """The images with the labels that the network has for their classes' names.

    Raises:
        UserError: a class that the network does not know.
    """
    known = {name: label for label, name in enumerate(model.classes)}
    unknown = [name for name in images.classes if name not in known]
    if unknown:
        raise UserError(
            f"{images.given} has the class {unknown[0]}, which the checkpoint does not know: "
            "leave it out with dataset.classes=[…]"
        )
    labels = tuple(known[images.classes[label]] for label in images.labels)
    return replace(images, classes=model.classes, labels=labels)


def find_truth(options: EvaluateOptions, images: ImageSet) -> GroundTruth:
    """Boxes and masks of these images."""
    truth = load_truth(options.boxes, options.masks, images)
    if options.boxes is None and options.masks is None:
        truth = dataset_truth(images)
    if not truth.boxes and truth.mask_of is None:
        log.info("no boxes= and no masks=: localisation is not measured")
    return truth
