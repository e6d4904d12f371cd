"""Which writers a prediction has, and what they ask of the number of its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lcm
from pathlib import Path

from camexp.config import PredictOptions
from camexp.errors import UserError
from camexp.launching.shards import Shard
from camexp.methods import build_normalisation
from camexp.prediction.annotations import Annotations
from camexp.prediction.manifest import Manifest
from camexp.prediction.parquet import ParquetMaps
from camexp.prediction.reports import Report
from camexp.prediction.table import Predictions, Skipped
from camexp.prediction.tensors import TensorMaps
from camexp.prediction.writer import Writer
from camexp.viewer.report import MOST_IN_ONE_FILE

MOST_IMAGES = 20_000  # with files of their own, unless format=files asks for them
BATCHES = 16  # of a block: what a resumed prediction computes again at most


@dataclass(frozen=True)
class Outputs:
    """The writers of a prediction, of which some are asked for afterwards.

    Attributes:
        all: every one.
        annotations: the one of annotations, if there is one.
    """

    all: list[Writer]
    annotations: Annotations | None


def build_outputs(
    folder: Path, manifest: Manifest, options: PredictOptions, shard: Shard, paths: Sequence[Path] = ()
) -> Outputs:
    """What is written, as ``options`` ask.

    Args:
        folder: where the results of all shards are.
        manifest: of the prediction.
        options: of it.
        shard: the one that is written.
        paths: all images; empty where records that are there are assembled only.
    """
    writers: list[Writer] = [Predictions(folder), Skipped(folder)]
    if manifest.page is not None:
        writers.append(Report(folder, images_of_report(manifest.images, options), manifest.page,
                              build_normalisation(options.cam)))  # fmt: skip
    if options.in_few_files:
        kind = ParquetMaps if options.format == "parquet" else TensorMaps
        writers.append(kind(folder, shard, options, manifest.pool))
    annotations = Annotations(folder, manifest.classes, options, manifest.pool, paths) if options.annotations else None
    return Outputs([*writers, *([annotations] if annotations else [])], annotations)


def images_of_report(images: int, options: PredictOptions) -> int:
    """How many images the report holds: with maps in few files, which are for many, those of one page."""
    return min(images, MOST_IN_ONE_FILE) if options.in_few_files else images


def block_size(options: PredictOptions) -> int:
    """Images after which a batch is never left open, and no page of the montage: shards, and what a resumed prediction
    begins with, are whole blocks.

    >>> block_size(PredictOptions(ckpt="a", input="b", cam={}, batch_size=16))
    288
    """
    unit = lcm(options.batch_size, max(1, options.montage.images))
    return -(-BATCHES * options.batch_size // unit) * unit


def remove_numbered(folder: Path) -> None:
    """The files that an earlier prediction into the same folder has called by numbers: of more images than there are
    now, or in another format, the last of them would count as the new one's."""
    for name in ("montage_[0-9]*.png", "maps-[0-9]*.parquet", "maps-[0-9]*.safetensors"):
        for path in folder.glob(name):
            path.unlink()


def require_few_files(images: int, options: PredictOptions) -> None:
    """A million files are written for nobody who did not ask for them.

    Raises:
        UserError: more images than that, and neither ``format`` nor what would be a file an image is decided.
    """
    files = options.overlays + options.mat.write + options.npz
    if images > MOST_IMAGES and options.format is None and (files or options.report):
        raise UserError(
            f"input={options.input} names {images:,} images, and their overlays, maps and pages would be "
            f"{images * files:,} files or more: format=parquet (or safetensors) keeps the maps in a few files, "
            "format=files writes all of them"
        )
