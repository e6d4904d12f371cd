"""The network over the images, batch by batch: every method's maps, what they took, and how faithful they are."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from lightning_fabric.utilities import move_data_to_device
from torch.utils.data import DataLoader

from camexp.config import EvaluateOptions
from camexp.data import ImageSet
from camexp.devices import default_workers
from camexp.evaluation.faithfulness import confidence_change, insertion_deletion
from camexp.evaluation.ground_truth import GroundTruth
from camexp.evaluation.scores import upsample_and_normalise
from camexp.features import open_cache
from camexp.features.batches import Batch, LabelledImages, collate
from camexp.methods import ForwardPass, Method, forward_pass, is_cam, observer, of_pass
from camexp.models import CAMClassifier, CAMResult
from camexp.reporting.progress import Progress


class Passes:
    """One forward pass a batch for all methods that need no more; of stored features, where those do for every one.

    Args:
        faithful: indices of the images whose maps' faithfulness is measured.
    """

    def __init__(
        self, model: CAMClassifier, methods: Mapping[str, Method], images: ImageSet, truth: GroundTruth,
        faithful: set[int], options: EvaluateOptions,
    ) -> None:  # fmt: skip
        self.model, self.methods, self.images, self.options = model, methods, images, options
        self.truth, self.faithful = truth, faithful
        self.of_pass = {name: of_pass(method) for name, method in methods.items()}
        self._layers = tuple(
            dict.fromkeys(layer for one in self.of_pass.values() if one for layer in one.layers(model))
        )
        features_do = all(self.of_pass.values()) and not self._layers and not faithful
        self._cache = open_cache(options.features, model, None, model.device.type) if features_do else None

    def look_at_all(self) -> None:
        """Show all images to the methods that have to see them before the first map."""
        observers = [observe for method in self.methods.values() if (observe := observer(method))]
        if not observers:
            return
        with Progress("looking at all images", total=len(self.images), unit="images") as looking:
            for batch in self._loader(range(len(self.images))):
                seen = self._pass(batch, keep_layers=False)
                for observe in observers:
                    observe(self.model, seen, self._wanted(batch.labels))
                looking.advance(len(batch.labels))

    def over(self, rows: range) -> Iterator[BatchMaps]:
        """The batches of these images, in their order."""
        for batch in self._loader(rows):
            start = time.perf_counter()
            seen = self._pass(batch)
            plain = self.model.explain_activations(seen.activations, self._wanted(batch.labels.to(self.model.device)))
            plain.logits.cpu()  # waits for the device
            yield BatchMaps(self, batch, seen, plain, time.perf_counter() - start)

    def _wanted(self, labels: torch.Tensor) -> Any:
        return labels[:, None] if self.options.label == "true" else self.options.label

    def _loader(self, indices: range) -> DataLoader[Any]:
        workers, store = self.options.num_workers, self._cache.store if self._cache else None
        return DataLoader(
            LabelledImages(self.images, indices, self.model.preprocessing, store=store),
            batch_size=self.options.batch_size,
            num_workers=min(default_workers() if workers is None else workers, len(indices) // 8),
            collate_fn=collate,
        )

    def _pass(self, batch: Batch, keep_layers: bool = True) -> ForwardPass:
        """Of the images, or of their stored features."""
        if self._cache is None:
            return forward_pass(self.model, batch.images, self._layers if keep_layers else ())
        with torch.no_grad():
            features = self._cache.trunk_features(move_data_to_device(batch, self.model.device), self.model)
            return ForwardPass(features, self.model.head_activations(features))


@dataclass
class BatchMaps:
    """A batch that the network has seen.

    Attributes:
        plain: CAM's own maps and the network's logits.
        seconds: what these took.
    """

    passes: Passes
    batch: Batch
    seen: ForwardPass
    plain: CAMResult
    seconds: float

    @cached_property
    def indices(self) -> list[int]:
        """Of the images in the set."""
        return self.batch.indices.tolist()

    @cached_property
    def _judged(self) -> list[int]:
        """Places in the batch whose maps are scored: the only ones for which a method of several passes makes them."""
        return [
            number for number, index in enumerate(self.indices)
            if index in self.passes.truth or index in self.passes.faithful
        ]  # fmt: skip

    def of(self, name: str) -> tuple[CAMResult, float]:
        """A method's maps, zeros where nothing judges them, and the seconds that all the batch's take."""
        method, model, judged = self.passes.methods[name], self.passes.model, self._judged
        if is_cam(method) or not judged:
            return self.plain, self.seconds
        start = time.perf_counter()
        wanted = self.passes._wanted(self.batch.labels.to(model.device)[judged])
        inner = self.passes.of_pass[name]
        if inner:
            some = inner.of(model, self.seen.take(judged), wanted)
        else:
            some = method(model, self.batch.images[judged], wanted)
        some.maps.cpu()  # waits for the device
        spent = (time.perf_counter() - start) * len(self.indices) / len(judged)
        return _spread(some, judged, self.plain), spent + (self.seconds if inner else 0.0)

    def faithfulness(self, result: CAMResult) -> tuple[torch.Tensor, ...] | None:
        """How probabilities change with what the first map of each image shows; ``None``: none of them is measured."""
        measured = [number for number, index in enumerate(self.indices) if index in self.passes.faithful]
        if not measured:
            return None
        images, maps = self.batch.images[measured], result.maps[measured, 0].float().cpu()
        steps = self.passes.options.faithfulness.steps
        return _measure_faithfulness(self.passes.model, images, maps, result.labels[measured, 0], steps)


def _spread(some: CAMResult, sub: list[int], whole: CAMResult) -> CAMResult:
    """The maps of a part of a batch at their indices; the logits are the network's own."""
    maps = torch.zeros(len(whole.logits), *some.maps.shape[1:], device=some.maps.device)
    labels = torch.zeros(len(whole.logits), some.labels.shape[1], dtype=some.labels.dtype, device=some.labels.device)
    maps[sub], labels[sub] = some.maps, some.labels
    return CAMResult(whole.logits, maps, labels)


def _measure_faithfulness(
    model: CAMClassifier, images: torch.Tensor, maps: torch.Tensor, labels: torch.Tensor, steps: int
) -> tuple[torch.Tensor, ...]:
    images = images.to(model.device)
    size = (images.shape[-2], images.shape[-1])
    large = torch.stack([upsample_and_normalise(cam, size) for cam in maps]).to(model.device)
    mean, std = (torch.tensor(values) for values in (model.preprocessing.mean, model.preprocessing.std))

    def predict(batch: torch.Tensor) -> torch.Tensor:
        return model.explain(batch).probabilities

    blank = -mean / std  # a black pixel
    curves = insertion_deletion(predict, images, large, labels, blank, steps)
    return *curves, *confidence_change(predict, images, large, labels, blank)
