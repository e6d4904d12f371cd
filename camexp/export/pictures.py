"""The strip of maps on a model card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camexp.cam.colour import overlay
from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.images import UnreadableImage, read_image
from camexp.models import CAMClassifier
from camexp.prediction import find_inputs
from camexp.reporting.figures import add_caption, grid, resize_longer_side
from camexp.run_files import CAMS

STRIP = "maps.jpg"
MOST, TILE = 6, 200


def write_strip(classifier: CAMClassifier, ckpt: str | Path, images: Any, folder: Path) -> str | None:
    """``maps.jpg``: given images over their maps, or else the evolution that the run drew.

    Returns:
        What it shows, for the card; ``None`` if there is nothing to show.

    Raises:
        UserError: an image that does not exist or cannot be read.
    """
    if images is not None:
        paths = find_inputs(images, "images")
        chosen = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, MOST).round().astype(int))]
        picture, about = (
            strip(classifier, chosen),
            "Images and the map of the class that the network predicts for each.",
        )
    else:
        drawn = Path(ckpt).expanduser().resolve().parent.parent / CAMS / "evolution.png"
        if not drawn.is_file():
            return None
        picture, about = read_image(drawn), "The map of one image in the course of the training."
    with atomic_write(folder / STRIP) as temporary:
        picture.save(temporary, "JPEG", quality=90)
    return about


def strip(classifier: CAMClassifier, paths: Sequence[Path]) -> Image.Image:
    """Photographs, and below each the map of the class that is predicted, with its probability."""
    above, below = [], []
    for path in paths:
        try:
            image = read_image(path)
        except UnreadableImage as error:
            raise UserError(f"images: {path} could not be read ({error}): give another image") from error
        result = classifier.explain(classifier.preprocess(image)[None])
        label = int(result.labels[0, 0])
        small = resize_longer_side(image, TILE)
        heat = result.upsample((small.height, small.width))[0, 0].numpy()
        above.append(small)
        picture = Image.fromarray(overlay(np.asarray(small), heat))
        below.append(add_caption(picture, [classifier.classes[label], f"p = {result.probabilities[0, label]:.3f}"]))
    return grid([above, below])
