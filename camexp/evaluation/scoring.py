"""Score maps in a thread beside the network, in the order in which they come."""

from __future__ import annotations

import numpy as np
import torch

from camexp.bounded_executor import BoundedExecutor
from camexp.config import EvaluateOptions
from camexp.evaluation.ground_truth import GroundTruth
from camexp.evaluation.heatmaps import Heatmaps
from camexp.evaluation.ledger import Ledger
from camexp.evaluation.outcome import Outcome
from camexp.evaluation.pages import EvaluationReport
from camexp.evaluation.scored_image import ScoredImage, paper_iou


class Scoring:
    """What is given is done in this order, in the executor's thread: at the commit, all that came before it is done.

    Args:
        elsewhere: the maps that were made elsewhere, if the network's are not measured.
        page: is told of every scored image, if there is to be one.
        executor: of one thread, which calls what it is given.
    """

    def __init__(
        self, outcome: Outcome, truth: GroundTruth, options: EvaluateOptions, elsewhere: Heatmaps | None,
        page: EvaluationReport | None, ledger: Ledger, executor: BoundedExecutor,
    ) -> None:  # fmt: skip
        self.outcome, self.truth, self.options, self.elsewhere = outcome, truth, options, elsewhere
        self.page, self.ledger, self._executor = page, ledger, executor

    def maps(
        self, name: str, indices: list[int], maps: np.ndarray, map_labels: list[list[int]],
        logits: torch.Tensor | None, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        """Score a method's maps ``(B, k, h, w)`` of these images, which are of the classes ``map_labels``.

        Args:
            logits: ``(B, classes)``; ``None``: nothing was classified.
            seconds: that the network and the method took.
        """
        self._executor.submit(self._score, name, indices, maps, map_labels, logits, seconds)

    def made_elsewhere(self, index: int, logits: torch.Tensor | None) -> None:
        """Score the map that a file holds of an image, as one of its true class."""
        assert self.elsewhere is not None
        maps = self.elsewhere.read(index)[None]
        self.maps("heatmaps", [index], maps, [[self.outcome.images.labels[index]]], logits)

    def faithfulness(self, name: str, figures: tuple[torch.Tensor, ...]) -> None:
        self._executor.submit(self.outcome.scores[name].faithfulness.update, *figures)

    def commit(self, following: int) -> None:
        """All images before this one are scored."""
        self._executor.submit(self.ledger.commit, following)

    def _score(
        self, name: str, indices: list[int], maps: np.ndarray, map_labels: list[list[int]],
        logits: torch.Tensor | None, seconds: float,
    ) -> None:  # fmt: skip
        scores, truth, size_asked = self.outcome.scores[name], self.truth, self.options.scored_size
        scores.seconds += seconds
        labels = torch.tensor([self.outcome.images.labels[index] for index in indices])
        ranks, predicted, probabilities = [0] * len(indices), labels.tolist(), [float("nan")] * len(indices)
        if logits is not None:
            logits = logits.cpu()
            scores.classify(logits, labels)
            ranks = (logits > logits.gather(1, labels[:, None])).sum(1).tolist()
            probabilities, predicted = (values.tolist() for values in logits.softmax(1).max(1))
        for number, index in enumerate(indices):
            boxes, size = truth.scaled_boxes(index, size_asked)
            mask, ignore = truth.masks(index)
            if boxes is None and mask is not None and size_asked is None:
                size = mask.shape[0], mask.shape[1]
            fit = 0.0 if boxes is None else paper_iou(maps[number], boxes, size)
            shown = maps[number] if index in truth else maps[number][:0]
            again = self.elsewhere.again(index) if self.elsewhere and len(shown) else scores.spooled.add(shown)
            item = ScoredImage(
                index, again, boxes, size, ranks[number], int(predicted[number]), probabilities[number], fit
            )
            parts = scores.localise(item, shown, mask, ignore)
            if self.page is not None:
                self.page.scored(name, item, shown, map_labels[number], parts, mask, ignore)
