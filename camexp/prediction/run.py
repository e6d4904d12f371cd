"""From a checkpoint and a list of images to a folder of results."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from camexp.bounded_executor import BoundedExecutor
from camexp.cam.colour import colour_map
from camexp.cam.normalisation import Normalisation
from camexp.config import EvaluateOptions, PredictOptions
from camexp.config.validation import validated
from camexp.devices import default_workers, select_device
from camexp.errors import Interrupted, UserError
from camexp.labels import labels_as_text, resolve_label
from camexp.launching.signals import Interrupts, signal_name
from camexp.methods import Method, build_method, build_normalisation, forward_pass, is_cam, observer, require_layers
from camexp.models import CAMClassifier, Preprocessing, load
from camexp.prediction.annotations import Annotations, find_threshold, require_new
from camexp.prediction.batches import DecodedImage, Unreadable, batches
from camexp.prediction.inputs import distinct, file_name, unique_names
from camexp.prediction.montages import Montages
from camexp.prediction.ordered_csv import OrderedCSV, append_row
from camexp.prediction.reports import open_report, report_item
from camexp.prediction.results import HEADER, Explanation, write_results
from camexp.reporting.progress import Progress
from camexp.run_files import REPORT
from camexp.viewer import ImageReport, all_or_top, is_finite

log = logging.getLogger(__name__)

PREDICTIONS, SKIPPED = "predictions.csv", "skipped.csv"


@dataclass
class Outcome:
    """What came of a list of images."""

    folder: Path
    explained: int = 0
    skipped: list[tuple[Path, str]] = field(default_factory=list)
    montages: int = 0
    annotated: str = ""  # what came of annotations, in a line


def read_options(config: DictConfig) -> PredictOptions:
    """The composed configuration, validated."""
    options = validated(config, PredictOptions)
    colour_map(options.colormap)
    build_method(options.cam)
    if options.annotations:
        find_threshold(options)
        require_new(options)
    return options


def load_model(options: PredictOptions | EvaluateOptions) -> CAMClassifier:
    """The network on its device, frozen, its preprocessing set to ``resize``."""
    device = select_device(options.gpus)
    model = load(Path(str(options.ckpt)).expanduser(), device, options.precision, options.compile)
    model.freeze("trunk")  # nothing trains here: gradients need not go further down than the method's layer
    if options.resize != "trained":
        old = model.preprocessing
        model.preprocessing = Preprocessing(options.input_size, old.mean, old.std)
    return model


def read_label(label: Any, classes: Sequence[str]) -> Any:
    """``label`` as :meth:`CAMClassifier.explain` takes it, unknown classes refused before any work.

    >>> read_label("llama", ["duck", "llama"]), read_label("top5", ["duck", "llama"])
    ([1], 'top5')
    """
    several = isinstance(label, str) and (label in ("predicted", "all") or re.fullmatch("top[1-9][0-9]*", label))
    if several and label not in classes:
        return label
    wanted = labels_as_text(label if isinstance(label, list) else [label])
    if not wanted:
        raise UserError("label=[] names no class: give predicted, top5, all, a class or a list of classes")
    return [resolve_label(one, classes) for one in wanted]


def predict(model: CAMClassifier, paths: Sequence[Path], options: PredictOptions) -> Outcome:
    """Explain every image and write its results; unreadable ones are skipped and told.

    Processes decode ahead and threads write behind the network, so that it need not wait for either. What is done
    stands in ``predictions.csv`` and ``skipped.csv`` at any moment, in the order of the images.

    Raises:
        Interrupted: a signal asked to stop; the batch before was finished.
    """
    require_layers(build_method(options.cam), model)
    outcome = Outcome(Path(options.output))
    annotations = Annotations(outcome.folder, paths, model.classes, options, model.head.pool)
    interrupts = Interrupts("stopping after this batch (Ctrl-C again: at once)")
    (outcome.folder / SKIPPED).unlink(missing_ok=True)  # of an earlier run into the same folder
    table = OrderedCSV(outcome.folder / PREDICTIONS, HEADER)
    try:
        page_file = open_report(outcome.folder, len(paths), model, options)
        with interrupts, table, annotations, page_file as page:
            _explain_all(model, paths, options, outcome, table, annotations, page, interrupts)
        outcome.annotated = annotations.summary() if options.annotations else ""
    except BaseException:
        log.warning(_progress(outcome, table, len(paths)))
        raise
    if interrupts.signum and outcome.explained + len(outcome.skipped) < len(paths):
        stopped = f"stopped by {signal_name(interrupts.signum)}"
        raise Interrupted(f"{stopped}: {_progress(outcome, table, len(paths))}", interrupts.signum)
    return outcome


def _explain_all(
    model: CAMClassifier, paths: Sequence[Path], options: PredictOptions, outcome: Outcome, table: OrderedCSV,
    annotations: Annotations, page: ImageReport | None, interrupts: Interrupts,
) -> None:  # fmt: skip
    label, method = read_label(options.label, model.classes), build_method(options.cam)
    normalisation = build_normalisation(options.cam)
    names, class_files = unique_names(paths), distinct([file_name(name) for name in model.classes])
    pages = Montages(outcome.folder, len(paths), options, model.head.pool)
    workers = options.num_workers
    workers = min(default_workers() if workers is None else workers, len(paths) // 8)

    def write(index: int, image: Explanation) -> None:
        rows = write_results(image, names[index], class_files, outcome.folder, options)
        pages.add(index, image)
        if page is not None:
            _add_to_page(page, index, image, rows, len(paths), normalisation)
        annotations.add(index, image)
        table.add(index, rows)

    if observe := observer(method):
        with Progress("looking at all images", total=len(paths), unit="images") as looking:
            for batch in batches(paths, model.preprocessing, options.batch_size, workers):
                if interrupts.signum:
                    return
                if not isinstance(batch, Unreadable):
                    observe(model, forward_pass(model, torch.stack([picture.tensor for picture in batch])), label)
                looking.advance(1 if isinstance(batch, Unreadable) else len(batch))
    with (
        Progress("predicting", total=len(paths), unit="images") as progress,
        BoundedExecutor(write, max_waiting=2 * options.batch_size) as writing,
    ):
        for batch in batches(paths, model.preprocessing, options.batch_size, workers):
            if isinstance(batch, Unreadable):
                _skip(outcome, paths[batch.index], batch.reason)
                pages.add(batch.index, None)
                if page is not None:
                    page.skip(batch.index)
                annotations.skip(batch.index)
                table.skip(batch.index)
                progress.advance(1)
            else:
                explained = explain(model, batch, paths, label, method, more=page is not None)
                for picture, image in zip(batch, explained, strict=True):
                    writing.submit(picture.index, image)
                outcome.explained += len(batch)
                progress.advance(len(batch))
            if interrupts.signum:
                break
        writing.finish()
    outcome.montages = pages.written


def _add_to_page(
    page: ImageReport, index: int, image: Explanation, rows: Sequence[Sequence[Any]], count: int,
    normalisation: Normalisation,
) -> None:  # fmt: skip
    if is_finite(image.logits, (image.more or (image.maps, image.labels))[0]):
        page.add(index, report_item(image, rows, count, normalisation))
    else:
        page.skip(index)
        log.warning(f"{image.path} is left out of {REPORT}: its maps or logits are not finite (try precision=32-true)")


def _skip(outcome: Outcome, path: Path, reason: str) -> None:
    outcome.skipped.append((path, reason))
    append_row(outcome.folder / SKIPPED, ("path", "reason"), (path, reason))
    log.warning(f"skipped {path}: {reason}")


def _progress(outcome: Outcome, table: OrderedCSV, total: int) -> str:
    skipped = f", {len(outcome.skipped)} skipped ones in {SKIPPED} beside it" if outcome.skipped else ""
    return f"{table.images} of {total} images are done, their rows are in {outcome.folder / PREDICTIONS}{skipped}"


def explain(
    model: CAMClassifier, batch: Sequence[DecodedImage], paths: Sequence[Path], label: Any,
    method: Method = CAMClassifier.explain, more: bool = False,
) -> list[Explanation]:  # fmt: skip
    """Logits and maps of pictures of one size.

    Args:
        more: with maps of all classes besides (the top five of a network with very many), which CAM has for nothing.
    """
    images = torch.stack([picture.tensor for picture in batch])
    if is_cam(method):
        activations = model.head_activations(model.trunk_features(images))
        result = model.explain_activations(activations, label)
        others = model.explain_activations(activations, all_or_top(model.classes)) if more else None
    else:
        result, others = method(model, images, label), None
    logits, probabilities = result.logits.cpu().numpy(), result.probabilities.cpu().numpy()
    maps, labels = result.maps.cpu().numpy(), result.labels.cpu().numpy()
    besides = None if others is None else (others.maps.cpu().numpy(), others.labels.cpu().numpy())
    return [
        Explanation(
            paths[picture.index], picture.pixels, logits[i], probabilities[i], maps[i], labels[i], model.classes,
            None if besides is None else (besides[0][i], besides[1][i]), model.head.pool,
        )
        for i, picture in enumerate(batch)
    ]  # fmt: skip


def report(outcome: Outcome, options: PredictOptions) -> None:
    """Where the results are and what was skipped.

    Raises:
        UserError: nothing could be read, or something could not with ``strict=true``.
    """
    skipped, montage, strict = len(outcome.skipped), options.montage, options.strict
    told = f"{skipped} of {skipped + outcome.explained} images could not be read"
    if not outcome.explained:
        path, reason = outcome.skipped[0]
        raise UserError(f"input: {told} (the first is {path}: {reason})")
    log.info(f"\n  images       {outcome.explained}" + (f"   ({skipped} skipped, see skipped.csv)" if skipped else ""))
    log.info(f"  results      {outcome.folder}")
    if options.report:
        log.info(f"  look at      {outcome.folder / REPORT}   (in a browser)")
    if outcome.montages:
        shown = min(outcome.montages * montage.images, outcome.explained + skipped)
        more = f"   (the first {shown} images; montage.pages=null: all)" if shown < outcome.explained + skipped else ""
        log.info(f"  {'         ' if options.report else 'look at  '}    {outcome.folder / 'montage_0001.png'}{more}")
    if outcome.annotated:
        log.info(f"  annotations  {outcome.annotated}")
    if strict and skipped:
        raise UserError(f"strict=true: {told}, see {outcome.folder / SKIPPED}")
