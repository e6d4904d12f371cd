"""The shards of an evaluation as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from camexp.config import EvaluateOptions
from camexp.errors import UserError
from camexp.evaluation.inputs import find_images, load_model
from camexp.evaluation.ledger import State, restore
from camexp.evaluation.outcome import maps_elsewhere, new_outcome
from camexp.evaluation.report import report
from camexp.evaluation.run import write_page
from camexp.launching.shards import Shard
from camexp.prediction.manifest import Manifest, missing_shards


def gather(folder: Path) -> None:
    """Add up the sums of all shards, and write what an undivided evaluation writes.

    Counts are added, so that the figures are the undivided ones to the last digit.

    Args:
        folder: the output folder of the evaluation.

    Raises:
        UserError: shards are missing, figures of a part of the images would be taken for those of all; or the images
            are no longer the same.
    """
    manifest = Manifest.of_shards(folder)
    options = manifest.read_options(folder, EvaluateOptions)
    shards = Shard(0, manifest.shards).all()
    folders = [shard.folder(folder) for shard in shards]
    found = [State.read(one) for one in folders]
    rows = [shard.rows(manifest.images, options.batch_size) for shard in shards]
    if missing := [shard for shard, one, some in zip(shards, found, rows, strict=True)
                   if some and (one is None or not one.finished)]:  # fmt: skip
        done = sum(one.next - some.start for one, some in zip(found, rows, strict=True) if one)
        raise UserError(missing_shards(folder, missing, manifest.images - done, manifest.images))
    options = options.model_copy(update={"gpus": 0})  # the network says what it is, and computes nothing
    model, trained = load_model(options)
    images = find_images(options, model, trained)
    manifest.require_images(images.paths)
    elsewhere = maps_elsewhere(options, images)
    outcome = replace(new_outcome(images, options), folder=folder)
    for one in (folder for folder, some in zip(folders, rows, strict=True) if some):
        restore(one, outcome.scores, elsewhere.again if elsewhere else None)
    if options.report and model is not None:
        write_page(outcome, model, options, folders)
    report(outcome, options)
