"""Run methods over images and score their maps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader

from camexp.bounded_executor import BoundedExecutor
from camexp.config import EvaluateOptions
from camexp.data import ImageSet
from camexp.devices import default_workers
from camexp.errors import UserError
from camexp.evaluation.faithfulness import confidence_change, insertion_deletion
from camexp.evaluation.ground_truth import GroundTruth
from camexp.evaluation.heatmaps import read_heatmap
from camexp.evaluation.inputs import build_methods, method_names, trained_on
from camexp.evaluation.ledger import Ledger, State, report_items
from camexp.evaluation.pages import EvaluationReport, figures_page, page_curves, write_report
from camexp.evaluation.scores import ScoredImage, Scores, paper_iou, upsample_and_normalise
from camexp.evaluation.spooled_maps import Maps
from camexp.features import FeatureCache, open_cache
from camexp.features.batches import Batch, LabelledImages, collate
from camexp.files import display_path
from camexp.launching.shards import Shard
from camexp.methods import (
    ForwardPass,
    Method,
    build_normalisation,
    forward_pass,
    is_cam,
    observer,
    of_pass,
    require_layers,
)
from camexp.models import CAMClassifier, CAMResult
from camexp.prediction.manifest import Manifest
from camexp.prediction.thresholds import read_thresholds
from camexp.reporting.progress import Progress
from camexp.run_files import REPORT

log = logging.getLogger(__name__)


@dataclass
class Outcome:
    """What came of an evaluation.

    Attributes:
        scores: of each method.
        thresholds: of each method, chosen elsewhere; empty where each method's best on these images is taken.
        trained_on: how many of the images the network was trained on.
        shard: which of the images the scores are of.
    """

    images: ImageSet
    scores: dict[str, Scores]
    folder: Path
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)
    trained_on: int = 0
    shard: Shard = field(default_factory=Shard)

    def summaries(self) -> dict[str, dict[str, Any]]:
        """The figures of each method, see :meth:`Scores.summary`."""
        return {name: scores.summary(self.thresholds.get(name)) for name, scores in self.scores.items()}


def evaluate(model: CAMClassifier | None, images: ImageSet, truth: GroundTruth, options: EvaluateOptions) -> Outcome:
    """Run every method over the images, or those of one shard, and score its maps, in a thread beside the network.

    How far it is, is kept in the output folder: see :class:`~camexp.evaluation.ledger.Ledger`.

    Raises:
        UserError: another evaluation's results in the folder.
    """
    methods = build_methods(options)
    if model is not None:
        for method in methods.values():
            require_layers(method, model)
    outcome = new_outcome(images, options)
    if outcome.trained_on:
        log.warning(f"the network was trained on {outcome.trained_on} of these {len(images)} images")
    shard = outcome.shard = Shard(options.shard or 0, options.shards)
    rows, folder = shard.rows(len(images), options.batch_size), shard.folder(outcome.folder)
    joins = options.resume is not None or shard.count > 1
    Manifest.of(images.paths, model, options).settle(outcome.folder, joins)
    state = State.read(folder) if options.resume else None
    if state is not None:
        log.info(f"the {len(rows)} images are done already" if state.finished else
                 f"resuming: {state.next - rows.start} of {len(rows)} images are done")  # fmt: skip
    chosen = np.random.default_rng(0).permutation(len(images))[: options.faithfulness.images]
    faithful = set(chosen.tolist()) if model is not None else set()
    try:
        ledger = Ledger(folder, outcome.scores, rows, state, maps_again(options, images))
    except OSError as error:
        raise UserError(f"output={folder} cannot be gone on with ({error}): give another folder") from error
    rest = range(ledger.state.next, rows.stop)
    try:
        with Progress("evaluating", total=len(rows), unit="images") as bar:
            bar.advance(rest.start - rows.start)
            normalisation = build_normalisation(options.cam)
            page = EvaluationReport(ledger.add_item, images, truth, methods, normalisation) if model else None
            page = page if options.report else None
            with BoundedExecutor(_call, max_waiting=4, max_workers=1) as scoring:
                if model is None:
                    score = partial(scoring.submit, partial(_score, outcome, truth, options, page))
                    for index in rest:
                        score("heatmaps", [index], *_made_elsewhere(options, images, index), None)
                        scoring.submit(ledger.commit, index + 1)
                        bar.advance(1)
                elif rest:
                    _run(model, methods, outcome, options, truth, faithful, rest, page, ledger, scoring, bar)
                scoring.finish()
        if not rows:
            ledger.commit(rows.stop)
    except BaseException:
        log.warning(
            f"{ledger.state.next - rows.start} of {len(rows)} images are done; the same command with "
            f"output={display_path(outcome.folder)} resume=auto goes on after what is written down of them"
        )
        raise
    finally:
        ledger.close()
    if shard.count == 1 and options.report and model is not None:
        write_page(outcome, model, options, [folder])
    return outcome


def new_outcome(images: ImageSet, options: EvaluateOptions) -> Outcome:
    """An evaluation of these images, of which nothing is known yet."""
    names = method_names(options)
    normalisation, by_contours = build_normalisation(options.cam), options.components_by == "contours"
    scores = {name: Scores(images.classes, by_contours, normalisation) for name in names}
    thresholds = read_thresholds(options.threshold.source, names)
    return Outcome(images, scores, Path(options.output), thresholds, trained_on(options, images))


def maps_again(options: EvaluateOptions, images: ImageSet) -> Callable[[int], Maps] | None:
    """Gives maps that were made elsewhere by an image's index; ``None``: they are the network's."""
    return None if options.heatmaps is None else lambda index: partial(_heatmap, options, images, index)


def write_page(outcome: Outcome, model: CAMClassifier, options: EvaluateOptions, folders: Sequence[Path]) -> None:
    """``report.html``, of the items that the folders of all shards hold."""
    count = len(outcome.images)
    figures = figures_page(outcome.summaries(), options, count, outcome.trained_on, model.head.pool)
    figures["curves"] = page_curves(outcome.scores)
    items = (item for folder in folders for item in report_items(folder))
    write_report(outcome.folder / REPORT, model, outcome.images, options, figures, items)


def _call(function: Callable[..., None], *arguments: Any) -> None:
    function(*arguments)


def _run(
    model: CAMClassifier, methods: Mapping[str, Method], outcome: Outcome, options: EvaluateOptions, truth: GroundTruth,
    faithful: set[int], rows: range, page: EvaluationReport | None, ledger: Ledger, scoring: BoundedExecutor,
    progress: Progress,
) -> None:  # fmt: skip
    images = outcome.images
    score = partial(scoring.submit, partial(_score, outcome, truth, options, page))
    passes = {name: of_pass(method) for name, method in methods.items()}
    layers = tuple(dict.fromkeys(layer for one in passes.values() if one for layer in one.layers(model)))
    features_do = all(passes.values()) and not layers and not faithful
    cache = open_cache(options.features, model, None, model.device.type) if features_do else None
    workers = options.num_workers

    def batches(indices: range) -> DataLoader[Any]:
        return DataLoader(
            LabelledImages(images, indices, model.preprocessing, store=cache.store if cache else None),
            batch_size=options.batch_size,
            num_workers=min(default_workers() if workers is None else workers, len(indices) // 8),
            collate_fn=collate,
        )

    if observers := [observe for method in methods.values() if (observe := observer(method))]:
        with Progress("looking at all images", total=len(images), unit="images") as looking:
            for batch in batches(range(len(images))):
                seen = _pass(model, batch, cache, ())
                for observe in observers:
                    observe(model, seen, batch.labels[:, None] if options.label == "true" else options.label)
                looking.advance(len(batch.labels))
    for batch in batches(rows):
        indices, labels = batch.indices.tolist(), batch.labels.to(model.device)
        wanted = labels[:, None] if options.label == "true" else options.label
        start = time.perf_counter()
        seen = _pass(model, batch, cache, layers)
        plain_result = model.explain_activations(seen.activations, wanted)
        plain_result.logits.cpu()
        plain_seconds = time.perf_counter() - start
        if page is not None:
            page.explain(model, seen.activations, indices, plain_result)
        sub = [number for number, index in enumerate(indices) if index in truth or index in faithful]
        if not methods:
            for number, index in enumerate(indices):
                one = plain_result.logits[number : number + 1]
                score("heatmaps", [index], *_made_elsewhere(options, images, index), one)
        for name, method in methods.items():
            start = time.perf_counter()
            result, spent = plain_result, plain_seconds
            if not is_cam(method) and sub:
                some_wanted = labels[sub][:, None] if options.label == "true" else wanted
                inner = passes[name]
                if inner:
                    some = inner.of(model, seen.take(sub), some_wanted)
                else:
                    some = method(model, batch.images[sub], some_wanted)
                some.maps.cpu()
                spent = (time.perf_counter() - start) * len(indices) / len(sub) + (plain_seconds if inner else 0.0)
                result = _spread(some, sub, plain_result)
            outcome.scores[name].seconds += spent
            maps = result.maps.float().cpu().numpy()
            score(name, indices, maps, result.labels.tolist(), result.logits)
            if measured := [number for number in sub if indices[number] in faithful]:
                figures = _measure_faithfulness(
                    model,
                    batch.images[measured],
                    maps[measured, 0],
                    result.labels[measured, 0],
                    options.faithfulness.steps,
                )
                scoring.submit(outcome.scores[name].faithfulness.update, *figures)  # in the order of the batches
        scoring.submit(ledger.commit, indices[-1] + 1)
        progress.advance(len(indices))


def _pass(model: CAMClassifier, batch: Batch, cache: FeatureCache | None, layers: Sequence[str]) -> ForwardPass:
    """Of the images, or of their stored features."""
    if cache is None:
        return forward_pass(model, batch.images, layers)
    with torch.no_grad():
        features = cache.trunk_features(move_data_to_device(batch, model.device), model)
        return ForwardPass(features, model.head_activations(features))


def _spread(some: CAMResult, sub: list[int], whole: CAMResult) -> CAMResult:
    """The maps of a part of a batch at their indices; the logits are the network's own."""
    maps = torch.zeros(len(whole.logits), *some.maps.shape[1:], device=some.maps.device)
    labels = torch.zeros(len(whole.logits), some.labels.shape[1], dtype=some.labels.dtype, device=some.labels.device)
    maps[sub], labels[sub] = some.maps, some.labels
    return CAMResult(whole.logits, maps, labels)


def _heatmap(options: EvaluateOptions, images: ImageSet, index: int) -> np.ndarray:
    """Of one image ``(1, h, w)``."""
    return read_heatmap(Path(str(options.heatmaps)).expanduser(), images.paths[index], images.root)[None]


def _made_elsewhere(options: EvaluateOptions, images: ImageSet, index: int) -> tuple[np.ndarray, list[list[int]]]:
    """A batch of one image's map ``(1, 1, h, w)``, and the class it is of: the true one."""
    return _heatmap(options, images, index)[None], [[images.labels[index]]]


def _score(
    outcome: Outcome, truth: GroundTruth, options: EvaluateOptions, page: EvaluationReport | None, name: str,
    indices: list[int], maps: np.ndarray, map_labels: list[list[int]], logits: torch.Tensor | None,
) -> None:  # fmt: skip
    scores = outcome.scores[name]
    labels = torch.tensor([outcome.images.labels[index] for index in indices])
    ranks, predicted, probabilities = [0] * len(indices), labels.tolist(), [float("nan")] * len(indices)
    if logits is not None:
        logits = logits.cpu()
        scores.classify(logits, labels)
        ranks = (logits > logits.gather(1, labels[:, None])).sum(1).tolist()
        probabilities, predicted = (values.tolist() for values in logits.softmax(1).max(1))
    for number, index in enumerate(indices):
        boxes, size = truth.scaled_boxes(index, options.scored_size)
        mask, ignore = truth.masks(index)
        if boxes is None and mask is not None and options.scored_size is None:
            size = mask.shape[0], mask.shape[1]
        fit = 0.0 if boxes is None else paper_iou(maps[number], boxes, size)
        shown = maps[number] if index in truth else maps[number][:0]
        if options.heatmaps is not None and len(shown):
            again: Maps = partial(_heatmap, options, outcome.images, index)
        else:
            again = scores.spooled.add(shown)
        item = ScoredImage(index, again, boxes, size, ranks[number], int(predicted[number]), probabilities[number], fit)
        parts = scores.localise(item, shown, mask, ignore)
        if page is not None:
            page.scored(name, item, shown, map_labels[number], parts, mask, ignore)


def _measure_faithfulness(
    model: CAMClassifier, images: torch.Tensor, maps: np.ndarray, labels: torch.Tensor, steps: int
) -> tuple[torch.Tensor, ...]:
    images = images.to(model.device)
    size = (images.shape[-2], images.shape[-1])
    large = torch.stack([upsample_and_normalise(cam, size) for cam in torch.from_numpy(maps)]).to(model.device)
    mean, std = (torch.tensor(values) for values in (model.preprocessing.mean, model.preprocessing.std))

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return model.explain(batch).probabilities

    blank = -mean / std  # a black pixel
    curves = insertion_deletion(predict, images, large, labels, blank, steps)
    return *curves, *confidence_change(predict, images, large, labels, blank)
