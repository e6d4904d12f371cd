"""Whether what was exported says the same as its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from camexp.errors import UserError, reason
from camexp.models import CAMClassifier

TOLERANCE = 1e-4  # of the largest value
Runner = Callable[[NDArray], Mapping[str, NDArray]]


@dataclass(frozen=True)
class Compared:
    """The largest differences on one batch, as shares of the largest value of the checkpoint's.

    Attributes:
        shape: ``(B, 3, H, W)`` of the input.
    """

    shape: tuple[int, ...]
    logits: float
    maps: float

    @property
    def worst(self) -> float:
        """The larger of both; NaN where either is."""
        return float(np.maximum(self.logits, self.maps))

    def __str__(self) -> str:
        shape = "×".join(map(str, self.shape))
        return f"{shape}: logits {self.logits:.1e}, maps {self.maps:.1e} of the largest value"


def check_inputs(size: tuple[int, int] | None, preprocessing: bool) -> list[NDArray]:
    """Batches of three sizes: one image as trained, three wide ones, two high ones of odd sides.

    Args:
        size: ``(H, W)`` as trained; ``None``: 224 pixels.
        preprocessing: RGB bytes, or else what comes out of the preprocessing: values about 0 with a spread of 1.

    >>> [batch.shape for batch in check_inputs((64, 96), preprocessing=False)]
    [(1, 3, 64, 96), (3, 3, 64, 160), (2, 3, 117, 72)]
    """
    height, width = size or (224, 224)
    rng = np.random.default_rng(0)
    sizes = ((1, height, width), (3, max(64, height // 2), width + 64), (2, height + 53, max(72, width // 2 + 5)))
    batches = []
    for count, h, w in sizes:
        coarse = torch.from_numpy(rng.random((count, 3, 8, 8), np.float32))
        smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear").numpy()
        pixels = np.clip(0.7 * smooth + 0.3 * rng.random((count, 3, h, w), np.float32), 0, 1)
        batches.append((255 * pixels).astype(np.uint8) if preprocessing else 4 * pixels - 2)
    return batches


def compare(
    run: Runner, classifier: CAMClassifier, batches: Sequence[NDArray], preprocessing: bool = False
) -> list[Compared]:
    """What an exported network and its checkpoint make of the same images.

    Args:
        run: the exported network: a batch in, ``logits``, ``maps`` and perhaps ``labels`` out.
        classifier: the checkpoint's, in float32.
        batches: see :func:`check_inputs`.
        preprocessing: whether they are RGB bytes.

    Raises:
        UserError: it does not run at one of the sizes, or gives other shapes or labels that are not the top ones.
    """
    return [_compare(run, classifier, batch, preprocessing) for batch in batches]


def _compare(run: Runner, classifier: CAMClassifier, batch: NDArray, preprocessing: bool) -> Compared:
    images = (
        torch.stack([classifier.preprocess(Image.fromarray(one.transpose(1, 2, 0))) for one in batch])
        if preprocessing
        else torch.from_numpy(batch)
    )
    reference = classifier.explain(images, "all")
    logits, maps = reference.logits.numpy(), reference.maps.numpy()
    shape = "×".join(map(str, batch.shape))
    try:
        found = run(batch)
    except Exception as error:  # each runtime raises its own
        raise UserError(
            f"to: the exported network does not run on a batch of {shape} ({reason(error)}): "
            "its architecture is bound to one size; nothing was written"
        ) from error
    labels = found.get("labels")
    if labels is not None:
        kth = np.sort(logits, 1)[:, -labels.shape[1]][:, None]
        taken = np.take_along_axis(logits, labels, 1)
        distinct = all(len(set(row)) == len(row) for row in labels.tolist())
        if not distinct or (taken < kth - TOLERANCE * np.abs(logits).max()).any():
            raise UserError(f"to: on a batch of {shape} the exported network's labels are not the highest logits'")
        maps = np.take_along_axis(maps, labels[:, :, None, None], 1)
    return Compared(tuple(batch.shape), _difference(found["logits"], logits), _difference(found["maps"], maps))


def _difference(found: NDArray, reference: NDArray) -> float:
    if found.shape != reference.shape:
        raise UserError(f"to: the exported network gives {found.shape}, its checkpoint {reference.shape}")
    largest = float(np.abs(reference).max())
    return float(np.abs(found.astype(np.float64) - reference).max()) / (largest or 1.0)


def require_equal(compared: Sequence[Compared], to: str) -> None:
    """Refuse what differs by more than 1e-4 of the largest value.

    Raises:
        UserError: with the worst batch; NaN counts as a difference.

    >>> require_equal([Compared((1, 3, 64, 64), 1e-6, 2e-3)], "onnx")
    Traceback (most recent call last):
    ...
    camexp.errors.UserError: to=onnx: what was exported differs from the checkpoint on a batch of 1×3×64×64: ...
    """
    for one in compared:
        if not one.worst <= TOLERANCE:
            raise UserError(
                f"to={to}: what was exported differs from the checkpoint on a batch of {one}, more than "
                f"{TOLERANCE:.0e}; nothing was written"
            )
