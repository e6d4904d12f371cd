"""What of an image's maps becomes an annotation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from camexp.cam.boxes import Part, connected_parts
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.config.predict import ObjectOptions
from camexp.prediction.results import Explanation


@dataclass(frozen=True)
class WeakLabel:
    """One object of an image.

    Attributes:
        label: the index of its class.
        score: the class's probability in this image, in [0, 1].
        part: its box, its mask within the box and its area, in pixels of the upright image.
    """

    label: int
    score: float
    part: Part


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its objects.

    Attributes:
        name: the path below the input folder, with ``/``.
        size: ``(H, W)`` of the upright image.
        objects: class after class, of each the largest part first.
    """

    name: str
    size: tuple[int, int]
    objects: list[WeakLabel]


def find_objects(
    image: Explanation, threshold: float, options: ObjectOptions, normalisation: Normalisation = MIN_MAX
) -> tuple[list[WeakLabel], dict[str, list[str]]]:
    """The objects of an image, at its own size.

    Args:
        image: with its maps.
        threshold: of the upsampled and normalised map, in [0, 1].
        options: which classes and parts count.
        normalisation: what of a map is 0 and 1 for the threshold.

    Returns:
        The objects; and by reason, the names of the classes whose map can have none.
    """
    objects: list[WeakLabel] = []
    without: dict[str, list[str]] = {}
    for number, label in enumerate(image.labels.tolist()):
        probability, raw = float(image.probabilities[label]), image.maps[number]
        if probability < options.min_probability:
            continue
        if not (np.isfinite(raw).all() and np.isfinite(probability)):
            without.setdefault("is not finite (try precision=32-true)", []).append(image.classes[label])
        elif raw.min() == raw.max():  # asked of the map itself: upsampled, rounding makes it vary
            without.setdefault("is the same everywhere", []).append(image.classes[label])
        else:
            mask = above(image.upsampled(number), threshold, normalisation)
            parts = connected_parts(mask, max(1, options.min_area * mask.size))
            kept = parts[:1] if options.parts == "largest" else parts
            objects += [WeakLabel(label, probability, part) for part in kept]
    return objects, without


def above(cam: NDArray[np.float32], threshold: float, normalisation: Normalisation = MIN_MAX) -> NDArray[np.bool_]:
    """Which pixels of a map belong to the object.

    Args:
        cam: ``(H, W)``, at the size of the image: it is normalised after it is upsampled, as in evaluations.

    >>> above(np.array([[-1, 0, 3]], np.float32), 0.25)
    array([[False, True, True]])
    """
    normalised = normalisation(torch.from_numpy(cam)).numpy()
    return np.asarray(normalised >= np.float32(threshold))
