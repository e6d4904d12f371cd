"""``report.html`` of a prediction: every image with its maps, to look at in a browser."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
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
from camexp.prediction.writer import Records, Rows, Writer, read_lines
from camexp.run_files import REPORT
from camexp.viewer import ImageReport, is_finite, item, meta, page_photograph
from camexp.viewer.budget import TOP

log = logging.getLogger(__name__)

MOST_BYTES = 20e6  # of all maps of a report


class Report(Writer):
    """``report.html``; until it is written whole, its items lie beside it, a line each.

    Args:
        folder: where the results of all shards are.
        count: images of all shards that it is to hold: the first so many.
        page: see :func:`describe_page`.
        normalisation: of each map by itself.
    """

    records = ".report.jsonl"

    def __init__(self, folder: Path, count: int, page: dict[str, Any], normalisation: Normalisation):
        self.folder, self.count, self.page, self.normalisation = folder, count, page, normalisation

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        if index >= self.count:
            return b""
        if not is_finite(image.logits, (image.more or (image.maps, image.labels))[0]):
            log.warning(
                f"{image.path} is left out of {REPORT}: its maps or logits are not finite (try precision=32-true)"
            )
            return b""
        # in ASCII: a file name that is not valid UTF-8 comes back as it was
        return json.dumps(report_item(image, rows, self.count, self.normalisation)).encode() + b"\n"

    def assemble(self, records: Sequence[Records], finished: bool = True) -> Sequence[Path]:
        with ImageReport(self.folder / REPORT, self.count, "Where the network looked", self.page) as page:
            for number, line in enumerate(read_lines(records)):
                page.add(number, json.loads(line))
        return [self.folder / REPORT]


def describe_page(count: int, model: CAMClassifier, options: PredictOptions) -> dict[str, Any]:
    """What ``report.html`` says besides its images: JSON.

    Args:
        count: how many images there are.
        model: that explains them.
        options: how.
    """
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
    return {
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
