"""From the ``dataset`` group of the configuration to an image set."""

from __future__ import annotations

import logging
from pathlib import Path

from camexp.config import DatasetOptions
from camexp.config.instantiate import instantiate
from camexp.data.check import drop_undecodable, find_undecodable
from camexp.data.imageset import UNLABELLED, ImageSet
from camexp.files import write_csv

log = logging.getLogger(__name__)


def build_images(dataset: DatasetOptions, run_folder: str | None = None, labelled: bool = True) -> ImageSet:
    """The data set that ``dataset._target_`` finds, limited and checked.

    Args:
        dataset: the group: ``_target_`` and its arguments, and what is the same for all data sets.
        run_folder: where ``skipped.csv`` goes if anything was skipped.
        labelled: whether there must be classes to tell apart.
    """
    images: ImageSet = instantiate(dataset.arguments, "dataset")
    if dataset.classes is not None:
        images = images.select_classes(dataset.classes)
    if labelled:
        images.require_classes()
    left_out = f", {images.left_out} other files left out" if images.left_out else ""
    classes = "" if images.classes == UNLABELLED else f" of {len(images.classes)} classes"
    log.info(f"{len(images)} images{classes} in {images.root}{left_out}")
    if dataset.check:
        skipped = find_undecodable(images)
        if skipped:
            where = ""
            if run_folder is not None:
                write_csv(Path(run_folder, "skipped.csv"), ("path", "reason"), skipped)
                where = f", listed in {Path(run_folder, 'skipped.csv')}"
            log.info(f"skipped {len(skipped)} file{'s' * (len(skipped) > 1)} that cannot be decoded{where}")
        images = drop_undecodable(images, skipped, dataset.max_skipped)
    return images
