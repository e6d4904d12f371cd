"""From a checkpoint and a list of images to a folder of results."""

from __future__ import annotations

import csv
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from camexp.bounded_executor import BoundedExecutor
from camexp.config import PredictOptions
from camexp.data import ImageSet
from camexp.devices import default_workers
from camexp.errors import Interrupted, UserError
from camexp.files import display_path, writing_as
from camexp.launching.ranks import CHILD
from camexp.launching.shards import Shard
from camexp.launching.signals import Interrupts, signal_name
from camexp.methods import Method, build_method, forward_pass, observer, require_layers
from camexp.models import CAMClassifier
from camexp.prediction.annotations import find_threshold
from camexp.prediction.batches import Unreadable, batches
from camexp.prediction.explaining import explain_in_memory, open_features, read_label, require_features
from camexp.prediction.inputs import distinct, file_name, unique_names
from camexp.prediction.manifest import Manifest
from camexp.prediction.montages import Montages
from camexp.prediction.outputs import block_size, build_outputs, images_of_report, remove_numbered, require_few_files
from camexp.prediction.reports import describe_page
from camexp.prediction.results import Explanation, write_results
from camexp.prediction.table import PREDICTIONS, SKIPPED
from camexp.prediction.writing import State, Writing
from camexp.reporting.progress import Progress
from camexp.run_files import REPORT

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What came of a list of images, or of one shard of it."""

    folder: Path
    images: int
    explained: int = 0
    skipped: int = 0
    shard: Shard = field(default_factory=Shard)
    montages: int = 0
    annotated: str = ""  # what came of annotations, in a line


def predict(model: CAMClassifier, images: ImageSet, options: PredictOptions) -> Outcome:
    """Explain every image, or those of one shard, and write their results; unreadable ones are skipped and told.

    Processes decode ahead and threads write behind the network, so that it need not wait for either. What is done
    stands in ``predictions.csv`` and ``skipped.csv`` at any moment, in the order of the images.

    Raises:
        Interrupted: a signal asked to stop; the batch before was finished.
        UserError: more images than files are written for unasked, or another prediction's results in the folder.
    """
    method, label = build_method(options.cam), read_label(options.label, model.classes)
    require_layers(method, model)
    require_features(model, options)
    require_few_files(len(images), options)
    paths = images.paths
    output, shard = Path(options.output), Shard(options.shard or 0, options.shards)
    rows = shard.rows(len(paths), block_size(options))
    page = describe_page(images_of_report(len(paths), options), model, options) if options.report else None
    content = {"the threshold": f"{find_threshold(options):.9g}"} if options.annotations else {}
    manifest = Manifest.of(paths, model, options, page, content)
    outputs = build_outputs(output, manifest, options, shard, paths)
    joins = options.resume is not None or shard.count > 1
    manifest.settle(output, joins)
    if not joins:
        remove_numbered(output)
    folder = shard.folder(output)
    state = State.read(folder) if options.resume else None
    outcome = Outcome(output, len(rows), shard=shard)
    if state is not None and state.finished:
        log.info(f"the {len(rows)} images are done already")
        outcome.explained, outcome.skipped = state.explained, state.skipped
        return outcome
    if state is not None:
        log.info(f"resuming: {state.next - rows.start} of {len(rows)} images are done")
    interrupts = Interrupts("stopping after this batch (Ctrl-C again: at once)")
    try:
        writing = Writing(folder, outputs.all, rows, state)
    except OSError as error:
        raise UserError(f"output={folder} cannot be gone on with ({error}): give another folder") from error
    with writing_as(shard.name):
        try:
            with interrupts, writing:
                outcome.montages = _explain_all(model, images, method, label, options, writing, interrupts)
        finally:
            outcome.explained, outcome.skipped = writing.state.explained, writing.state.skipped
            writing.assemble(whole=shard.count == 1)
            if not writing.state.finished:
                log.warning(_progress(outcome))
    outcome.annotated = outputs.annotations.summary() if outputs.annotations and shard.count == 1 else ""
    if interrupts.signum and not writing.state.finished:
        stopped = f"stopped by {signal_name(interrupts.signum)}"
        raise Interrupted(f"{stopped}: {_progress(outcome)}", interrupts.signum)
    return outcome


def _explain_all(
    model: CAMClassifier, images: ImageSet, method: Method, label: Any, options: PredictOptions, writing: Writing,
    interrupts: Interrupts,
) -> int:  # fmt: skip
    """Returns how many pages of the montage were written."""
    paths = images.paths
    files = not options.in_few_files  # else no image has a name of its own, of which a million would fill memory
    names = unique_names(paths) if files else []
    class_files = distinct([file_name(name) for name in model.classes])
    output, block, done = Path(options.output), block_size(options), writing.state.next
    pages = Montages(output, len(paths), options, model.head.pool)
    rows = range(done // block * block, writing.rows.stop)
    workers = options.num_workers
    workers = min(default_workers() if workers is None else workers, len(rows) // 8)
    arguments = model.preprocessing, options.batch_size, workers

    def write(index: int, image: Explanation) -> None:
        pages.add(index, image)
        if index >= done:  # what comes before it was written by an earlier process, and is explained for the pages
            writing.add(index, image, write_results(image, names[index] if files else "", class_files, output, options))

    if observe := observer(method):
        with Progress("looking at all images", total=len(paths), unit="images") as looking:
            for batch in batches(images, *arguments):
                if interrupts.signum:
                    return 0
                if not isinstance(batch, Unreadable):
                    observe(model, forward_pass(model, torch.stack([picture.tensor for picture in batch])), label)
                looking.advance(1 if isinstance(batch, Unreadable) else len(batch))
    with (
        open_features(model, options) as cache,
        Progress("predicting", total=len(writing.rows), unit="images") as progress,
        BoundedExecutor(write, max_waiting=2 * options.batch_size) as write_in_threads,
    ):
        progress.advance(rows.start - writing.rows.start)
        for batch in batches(images, *arguments, rows, block, options.format == "parquet", cache):
            explained = batch if isinstance(batch, Unreadable) else explain_in_memory(
                model, batch, paths, label, method, options.report, cache
            )  # fmt: skip
            if isinstance(explained, Unreadable):
                pages.add(explained.index, None)
                if explained.index >= done:
                    log.warning(f"skipped {paths[explained.index]}: {explained.reason}")
                    writing.skip(explained.index, paths[explained.index], explained.reason)
                progress.advance(1)
            else:
                for index, image in explained:
                    write_in_threads.submit(index, image)
                progress.advance(len(explained))
            if interrupts.signum:
                break
        write_in_threads.finish()
    return pages.written


def _progress(outcome: Outcome) -> str:
    folder = outcome.shard.folder(outcome.folder)
    skipped = f", {outcome.skipped} skipped ones in {SKIPPED} beside it" if outcome.skipped else ""
    return (
        f"{outcome.explained} of {outcome.images} images are done, their rows are in {folder / PREDICTIONS}{skipped}; "
        f"the same command with output={display_path(outcome.folder)} resume=auto goes on from there"
    )


def report(outcome: Outcome, options: PredictOptions) -> None:
    """Where the results are and what was skipped.

    Raises:
        UserError: nothing could be read, or something could not with ``strict=true``.
    """
    tables = outcome.shard.folder(outcome.folder)
    skipped, montage, strict = outcome.skipped, options.montage, options.strict
    told = f"{skipped} of {skipped + outcome.explained} images could not be read"
    if skipped and not outcome.explained:
        with (tables / SKIPPED).open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            path, reason = list(csv.reader(file))[1]
        raise UserError(f"input: {told} (the first is {path}: {reason})")
    if os.environ.get(CHILD) == "shard":  # what started it tells of all
        return
    log.info(f"\n  images       {outcome.explained}" + (f"   ({skipped} skipped, see skipped.csv)" if skipped else ""))
    log.info(f"  results      {tables}")
    if outcome.shard.count > 1:
        log.info(f"  then         camexp gather {display_path(outcome.folder)}   (once all shards are done)")
    elif options.report:
        log.info(f"  look at      {outcome.folder / REPORT}   (in a browser)")
    if outcome.montages:
        shown = min(outcome.montages * montage.images, outcome.explained + skipped)
        more = f"   (the first {shown} images; montage.pages=null: all)" if shown < outcome.explained + skipped else ""
        log.info(f"  {'         ' if options.report else 'look at  '}    {outcome.folder / 'montage_0001.png'}{more}")
    if outcome.annotated:
        log.info(f"  annotations  {outcome.annotated}")
    if strict and skipped:
        raise UserError(f"strict=true: {told}, see {tables / SKIPPED}")
