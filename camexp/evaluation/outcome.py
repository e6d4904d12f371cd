"""What came of an evaluation, or is to come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camexp.config import EvaluateOptions
from camexp.data import ImageSet
from camexp.evaluation.heatmaps import Heatmaps
from camexp.evaluation.inputs import method_names
from camexp.evaluation.scores import Scores
from camexp.evaluation.trained_images import trained_on
from camexp.launching.shards import Shard
from camexp.methods import build_normalisation
from camexp.prediction.thresholds import read_thresholds


@dataclass
class Outcome:
    """What came of an evaluation.

    Attributes:
        scores: of each method.
        thresholds: of each method, chosen elsewhere; empty where each method's best on these images is taken.
        trained_on: how many of the images the network was trained on, see :func:`trained_on`; ``None``: not known.
        shard: which of the images the scores are of.
    """

    images: ImageSet
    scores: dict[str, Scores]
    folder: Path
    thresholds: dict[str, dict[str, float]] = field(default_factory=dict)
    trained_on: int | None = None
    shard: Shard = field(default_factory=Shard)

    def summaries(self) -> dict[str, dict[str, Any]]:
        """The figures of each method, see :meth:`Scores.summary`."""
        return {name: scores.summary(self.thresholds.get(name)) for name, scores in self.scores.items()}


def maps_elsewhere(options: EvaluateOptions, images: ImageSet) -> Heatmaps | None:
    """The maps that are measured instead of the network's; ``None``: they are the network's."""
    return None if options.heatmaps is None else Heatmaps(Path(options.heatmaps).expanduser(), images)


def new_outcome(images: ImageSet, options: EvaluateOptions) -> Outcome:
    """An evaluation of these images, of which nothing is known yet."""
    names = method_names(options)
    normalisation, by_contours = build_normalisation(options.cam), options.components_by == "contours"
    scores = {name: Scores(images.classes, by_contours, normalisation) for name in names}
    thresholds = read_thresholds(options.threshold.source, names)
    return Outcome(images, scores, Path(options.output), thresholds, trained_on(options.ckpt, images))
