"""Run methods over images and score their maps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camexp.bounded_executor import BoundedExecutor
from camexp.config import EvaluateOptions
from camexp.data import ImageSet
from camexp.errors import UserError
from camexp.evaluation.ground_truth import GroundTruth
from camexp.evaluation.inputs import build_methods
from camexp.evaluation.ledger import Ledger, State, report_items
from camexp.evaluation.outcome import Outcome, maps_elsewhere, new_outcome
from camexp.evaluation.pages import EvaluationReport, figures_page, page_curves, write_report
from camexp.evaluation.passes import Passes
from camexp.evaluation.scoring import Scoring
from camexp.files import display_path
from camexp.launching.shards import Shard
from camexp.methods import build_normalisation, require_layers
from camexp.models import CAMClassifier
from camexp.prediction.manifest import Manifest
from camexp.reporting.progress import Progress
from camexp.run_files import REPORT

log = logging.getLogger(__name__)


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
        log.warning(f"the network was trained on {outcome.trained_on} of these {len(images)} images, by their names")
    shard = outcome.shard = Shard(options.shard or 0, options.shards)
    rows, folder = shard.rows(len(images), options.batch_size), shard.folder(outcome.folder)
    joins = options.resume is not None or shard.count > 1
    elsewhere = maps_elsewhere(options, images)
    content = truth.digests()
    content |= {"the heatmaps": elsewhere.digest()} if elsewhere else {}
    content |= {"the thresholds": str(outcome.thresholds)} if outcome.thresholds else {}
    Manifest.of(images.paths, model, options, content=content).settle(outcome.folder, joins)
    state = State.read(folder) if options.resume else None
    if state is not None:
        log.info(f"the {len(rows)} images are done already" if state.finished else
                 f"resuming: {state.next - rows.start} of {len(rows)} images are done")  # fmt: skip
    chosen = np.random.default_rng(0).permutation(len(images))[: options.faithfulness.images]
    faithful = set(chosen.tolist()) if model is not None else set()
    try:
        ledger = Ledger(folder, outcome.scores, rows, state, elsewhere.again if elsewhere else None)
    except OSError as error:
        raise UserError(f"output={folder} cannot be gone on with ({error}): give another folder") from error
    rest = range(ledger.state.next, rows.stop)
    try:
        with Progress("evaluating", total=len(rows), unit="images") as bar:
            bar.advance(rest.start - rows.start)
            normalisation = build_normalisation(options.cam)
            page = EvaluationReport(ledger.add_item, images, truth, methods, normalisation) if model else None
            page = page if options.report else None
            with BoundedExecutor(_call, max_waiting=4, max_workers=1) as executor:
                scoring = Scoring(outcome, truth, options, elsewhere, page, ledger, executor)
                if model is None:
                    for index in rest:
                        scoring.made_elsewhere(index, None)
                        scoring.commit(index + 1)
                        bar.advance(1)
                elif rest:
                    _score_network(Passes(model, methods, images, truth, faithful, options), rest, scoring, bar)
                executor.finish()
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


def write_page(outcome: Outcome, model: CAMClassifier, options: EvaluateOptions, folders: Sequence[Path]) -> None:
    """``report.html``, of the items that the folders of all shards hold."""
    count = len(outcome.images)
    figures = figures_page(outcome.summaries(), options, count, outcome.trained_on, model.head.pool)
    figures["curves"] = page_curves(outcome.scores)
    items = (item for folder in folders for item in report_items(folder))
    write_report(outcome.folder / REPORT, model, outcome.images, options, figures, items)


def _call(function: Callable[..., None], *arguments: Any) -> None:
    function(*arguments)


def _score_network(passes: Passes, rows: range, scoring: Scoring, progress: Progress) -> None:
    """The network's maps, or where all were made elsewhere, what it classifies beside them."""
    passes.look_at_all()
    for batch in passes.over(rows):
        if scoring.page is not None:
            scoring.page.explain(passes.model, batch.seen.activations, batch.indices, batch.plain)
        if not passes.methods:
            for number, index in enumerate(batch.indices):
                scoring.made_elsewhere(index, batch.plain.logits[number : number + 1])
        for name in passes.methods:
            result, seconds = batch.of(name)
            maps = result.maps.float().cpu().numpy()
            scoring.maps(name, batch.indices, maps, result.labels.tolist(), result.logits, seconds)
            if (figures := batch.faithfulness(result)) is not None:
                scoring.faithfulness(name, figures)
        scoring.commit(batch.indices[-1] + 1)
        progress.advance(len(batch.indices))
