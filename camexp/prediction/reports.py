"""``report.html`` of a prediction: every image with its maps, to look at in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camexp import __version__
from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.config import PredictOptions
from camexp.methods import build_method, build_normalisation, describe_maps, is_cam
from camexp.models import CAMClassifier
from camexp.prediction.results import Explanation
from camexp.run_files import REPORT
from camexp.viewer import ImageReport, item, meta, page_photograph
from camexp.viewer.budget import TOP

MOST_BYTES = 20e6  # of all maps of a report


def open_report(
    folder: Path, count: int, model: CAMClassifier, options: PredictOptions
) -> AbstractContextManager[ImageReport | None]:
    """The page that is written while images are explained; nothing with ``report=false``."""
    if not options.report:
        return nullcontext()
    plain, made = is_cam(build_method(options.cam)), describe_maps(options.cam, model.head.pool)
    size = model.preprocessing.size
    facts = [
        ("checkpoint", options.ckpt),
        ("maps", made),
        *([("map and logit", model.head.tie)] if plain else []),
        ("precision", model.precision),
        ("size", "each image's own" if size is None else f"{size[0]} × {size[1]} pixels"),
        ("true class", "the name of an image's folder, where the network has a class of that name"),
        ("box", "around the largest part above a share of the map's maximum (Zhou et al., section 3.2: 0.2)"),
        ("camexp", __version__),
    ]  # fmt: skip
    page = {
        "subtitle": f"{count} image{'s' if count != 1 else ''}, {Path(options.ckpt).name}",
        "facts": facts,
        "meta": meta(
            model.classes,
            plain and model.head.mean_is_logit,
            made,
            options.colormap,
            options.alpha,
            normalisation=build_normalisation(options.cam),
        ),
    }
    return ImageReport(folder / REPORT, count, "Where the network looked", page)


def report_item(
    image: Explanation, rows: Sequence[Sequence[Any]], count: int, normalisation: Normalisation = MIN_MAX
) -> dict[str, Any]:
    """One image of the page.

    Args:
        image: with its maps.
        rows: its rows of ``predictions.csv``, the first one's box is what images are sorted by.
        count: how many images the report has: few ones are shown larger, and with the maps of more classes.
        normalisation: of each map by itself.
    """
    maps, labels = image.more or (image.maps, image.labels)
    if count * maps.size > MOST_BYTES:
        top = np.argsort(-image.probabilities, kind="stable")[:TOP]
        keep = np.flatnonzero(np.isin(labels, top) | np.isin(labels, image.labels))
        maps, labels = maps[keep], labels[keep]
    folder = image.path.parent.name
    x0, y0, x1, y1 = rows[0][4:8]
    height, width = image.size
    return item(
        image.path.name, str(image.path), image.size,
        page_photograph(Image.fromarray(image.pixels), count),
        image.logits, maps, labels, image.classes.index(folder) if folder in image.classes else None,
        normalisation=normalisation,
        area=0 if x0 is None else (x1 + 1 - x0) * (y1 + 1 - y0) / (height * width),
    )  # fmt: skip
