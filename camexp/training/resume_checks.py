"""Whether a run may be resumed: the options, the images and the network must be those that it was begun with."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camexp.config import TrainerOptions, TrainOptions, flat
from camexp.data import ImageSet, Split
from camexp.data.names import name_hashes, names_below
from camexp.errors import UserError, reason
from camexp.models import CAMClassifier
from camexp.models.checkpoint import METADATA, STATE_PREFIX, read_checkpoint
from camexp.training.trainer import total_steps

log = logging.getLogger(__name__)

# Options without which the numbers are the same, or which may change on purpose in the middle of a run.
MAY_CHANGE = (
    "run_dir", "resume", "debug", "command", "num_workers", "model.weights", "dataset.root", "dataset.path",
    "dataset.urls", "dataset.val_urls", "dataset.test_urls", "dataset.download", "dataset.max_gb", "dataset.check",
    "checkpoint.", "report", "inspect.", "logger.", "cam.", "callbacks.", "features.", "trainer.", "precision",
    "compile",
)  # fmt: skip
MAY_NOT = ("trainer.gradient_clip",)  # of those
CONTENTS = 64  # images whose content counts as well, of a data set whose images are not files
NOT_REPORTED = ("run_dir", "resume", "debug", "command", "num_workers", "report", "logger.")


def image_digest(images: ImageSet, split: Split) -> str:
    """Of the names, the classes and the split of all images: another one means other training data."""
    digest = hashlib.sha256()
    endings = [f"\0{name}\0".encode(errors="surrogateescape") for name in images.classes]
    for indices in (split.train, split.val):
        for index, name in zip(indices, names_below(images, indices), strict=True):
            digest.update(name + endings[images.labels[index]])
        digest.update(b"\1")
    if images.source is not None:  # where names are numbers, they do not say which images these are
        for index in np.linspace(0, len(images) - 1, min(len(images), CONTENTS), dtype=int).tolist():
            digest.update(_content(images, index))
    return digest.hexdigest()


def image_names(images: ImageSet, split: Split) -> dict[str, Tensor]:
    """What stands for the names of the images in both parts, see :func:`camexp.data.names.name_hashes`."""
    return {part: torch.from_numpy(name_hashes(images, getattr(split, part))) for part in ("train", "val")}


def _content(images: ImageSet, index: int) -> bytes:
    try:
        return images.digest(index).encode()
    except OSError as error:
        raise UserError(f"{images.paths[index]} cannot be read ({reason(error)}): bring it back") from error


def require_same_trunk(path: Path | None, classifier: CAMClassifier) -> None:
    """Make sure that the network was built as the run's own: what is frozen, and what its input is brought to, are
    used before a checkpoint is restored.

    Raises:
        UserError: other weights, or another preprocessing, than the run had.
    """
    if path is None:
        return
    checkpoint = read_checkpoint(path, "resume", mmap=True)
    before = checkpoint["state_dict"]
    same = checkpoint[METADATA]["preprocessing"] == classifier.preprocessing.to_dict() and all(
        parameter.requires_grad or _same(before[f"{STATE_PREFIX}{name}"], parameter.cpu())
        for name, parameter in classifier.named_parameters()
        if f"{STATE_PREFIX}{name}" in before
    )
    if not same:
        raise UserError(
            "resume: model.weights gives another network than the run was begun with: bring the file back that it was, "
            "or start anew with another hydra.run.dir"
        )


def _same(before: Tensor, now: Tensor) -> bool:
    """Whether a frozen weight is what it was; only nearly so, where the run resumes at another precision."""
    if before.dtype == now.dtype:
        return torch.equal(before, now)
    coarsest = max(torch.finfo(one.dtype).eps for one in (before, now))
    return before.shape == now.shape and torch.allclose(before.double(), now.double(), rtol=coarsest, atol=1e-6)


def require_same_images(before: str | None, digest: str, given: str) -> None:
    """Make sure that the images are those of the run so far.

    Raises:
        UserError: they are not.
    """
    if before not in (None, digest):
        raise UserError(
            f"resume: the images or the classes in {given} are not those that the run was trained on so "
            "far: bring them back to what they were, or start anew with another hydra.run.dir"
        )


def require_steps_to_come(path: Path | None, step: int, options: TrainerOptions, steps_per_epoch: int) -> None:
    """Make sure that a run is not to end before the checkpoint that it resumes from: it cannot go back.

    Raises:
        UserError: it is.
    """
    total = total_steps(options, steps_per_epoch)
    if step <= total:
        return
    ends = "max_steps" if options.max_steps == total else "max_epochs"
    enough = step if ends == "max_steps" else -(-step // steps_per_epoch)
    raise UserError(
        f"resume: trainer.{ends}={getattr(options, ends)} ends at step {total}, and {path} is at step {step} already: "
        f"give trainer.{ends}={enough} or more, or start anew with another hydra.run.dir"
    )


def require_same_options(before: Mapping[str, Any], options: TrainOptions, folder: Path) -> None:
    old, new = flat(before), flat(options.to_dict())
    with suppress(UserError):  # an option that is no more: told below, among those that differ
        # an option that an earlier version did not know had the value that is its default now
        complete = TrainOptions.read(before).model_dump(by_alias=True)
        old, new = flat(complete), flat(options.model_dump(by_alias=True))
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    told = [key for key in changed if not key.startswith(NOT_REPORTED)]

    def change(key: str) -> str:
        return f"{key}={new.get(key)} (was {old.get(key)})"

    refused = [key for key in told if not key.startswith(MAY_CHANGE) or key.startswith(MAY_NOT)]
    if refused:
        raise UserError(
            f"resume: {', '.join(map(change, refused))} cannot change in the middle of the run in {folder}: "
            "leave it as it was, or start anew with another hydra.run.dir"
        )
    if told:
        log.info(f"resume: changed since: {', '.join(map(change, told))}")
