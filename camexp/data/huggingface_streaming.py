"""Hugging Face's data sets read where they lie: Parquet files have an i-th row, so that nothing need be made over or
fetched before it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from camexp.data.huggingface_columns import (
    as_image_set,
    choose_splits,
    find_image_column,
    find_label_column,
    read_labels,
)
from camexp.data.imageset import ImageSet
from camexp.data.parquet_rows import ParquetFile, ParquetImages, open_file
from camexp.errors import UserError, reason
from camexp.record_log import cache_path
from camexp.reporting.progress import Progress

log = logging.getLogger(__name__)


def stream_parquet(
    path: str, root: str | None, config: str | None, splits: str | Sequence[str] | None, image_column: str | None,
    label_column: str | None, max_gb: float, download: bool,
) -> ImageSet:  # fmt: skip
    """The data set of :func:`camexp.data.find_huggingface` with ``streaming=true``.

    Labels and names are read at once, images as row groups (of the hub's files some hundred images each) when the
    first image of one is asked for. A row group is kept in ``root`` for all processes and runs, the newest of them up
    to ``max_gb``: an order as random as training's reads each only once where all have room.

    Raises:
        UserError: no such data set, or one that is not of Parquet files.
    """
    import datasets

    found = choose_splits(_data_files(datasets, path, config, download), path, splits)
    described, files = _read_footers(datasets, path, found)
    image = find_image_column(datasets, described, image_column)
    label = find_label_column(datasets, described, label_column, image)
    every = [file for some in files.values() for file in some]
    labels, names = _read_columns(path, every, image, label)
    known, classes = read_labels(labels, label, None if label is None else getattr(described[label], "names", None))
    counts = {split: sum(file.rows for file in some) for split, some in files.items()}
    folder = cache_path(Path(path), "row-groups").parent if root is None else Path(root).expanduser() / "row-groups"
    source = ParquetImages(every, image, folder, max_gb)
    if source.bytes > max_gb * 1e9:
        log.warning(
            f"dataset.max_gb={max_gb:g} is less than the images' {source.bytes / 1e9:.1f} GB: trained on in random "
            "order, row groups are fetched again and again"
        )
    return as_image_set(path, counts, names, known, classes, source)


def _data_files(datasets: Any, path: str, config: str | None, download: bool) -> dict[str, list[str]]:
    """The addresses of the Parquet files of each split, as the library finds them."""
    local = Path(path).expanduser()
    try:
        if local.is_file():
            builder = datasets.load_dataset_builder("parquet", data_files=str(local))
        else:
            builder = datasets.load_dataset_builder(str(local) if local.is_dir() else path, config)
        found = {
            str(split): [str(file) for file in files] for split, files in (builder.config.data_files or {}).items()
        }
    except Exception as error:  # its readers raise all there is
        todo = "" if download or local.exists() else ", and fetching is allowed with dataset.download=true"
        raise UserError(
            f"dataset.path={path} cannot be streamed ({reason(error)}): expected Parquet files, local or in the hub"
            f"{todo}"
        ) from error
    odd = next((file for files in found.values() for file in files if not file.lower().endswith(".parquet")), None)
    if odd or not found:
        raise UserError(
            f"dataset.streaming=true reads Parquet files, and dataset.path={path} holds {odd or 'none'}: leave it out"
        )
    return found


def _read_footers(
    datasets: Any, path: str, found: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, list[ParquetFile]]]:
    """What the columns hold, as the first file says, and the row groups of each file."""
    total = sum(map(len, found.values()))
    try:
        with Progress("reading footers", total=total, unit="files") as progress:
            files: dict[str, list[ParquetFile]] = {}
            for split, urls in found.items():
                for url in urls:
                    files.setdefault(split, []).append(ParquetFile.read(url))
                    progress.advance(1)
        first = next(iter(found.values()))[0]
        with open_file(first) as parquet:
            described = dict(datasets.Features.from_arrow_schema(parquet.schema_arrow))
    except Exception as error:  # Arrow's, of a file that is cut short, or the network's
        raise UserError(f"dataset.path={path} cannot be streamed ({reason(error)}): {_ADVICE}") from error
    return described, files


_ADVICE = "expected whole Parquet files, and a network where they lie in the hub"


def _read_columns(
    path: str, files: Sequence[ParquetFile], image: str, label: str | None
) -> tuple[list[Any], list[str]]:
    """All labels, and what the table calls its images.

    Raises:
        UserError: a file without these columns, or without images in them; no rows at all.
    """
    labels: list[Any] = []
    names: list[str] = []
    try:
        with Progress("reading labels", total=len(files), unit="files") as progress:
            for one in files:
                with open_file(one.url) as parquet:
                    nested = "path" in _check_columns(one.url, parquet.schema_arrow, image, label)
                    table = parquet.read([*([] if label is None else [label]), *([f"{image}.path"] if nested else [])])
                labels += [None] * one.rows if label is None else table.column(label).to_pylist()
                rows = table.flatten().column(f"{image}.path").to_pylist() if nested else [None] * one.rows
                names += [name or "" for name in rows]
                progress.advance(1)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"dataset.path={path} cannot be streamed ({reason(error)}): {_ADVICE}") from error
    if not labels:
        raise UserError(f"dataset.path={path} holds no row: expected images")
    return labels, names


def _check_columns(url: str, schema: Any, image: str, label: str | None) -> dict[str, Any]:
    """What the column of images has inside, by name."""
    import pyarrow.types as types

    if absent := {image, label} - {None, *schema.names}:
        raise UserError(
            f"{url} has no column {absent.pop()}, as others of the data set have: expected the same columns"
        )
    kind = schema.field(image).type
    inside = {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}
    content = inside.get("bytes") if types.is_struct(kind) else kind
    if content is None or not (types.is_binary(content) or types.is_large_binary(content)):
        raise UserError(
            f"dataset.image_column={image} holds {kind}: expected images, as bytes or as structures with bytes"
        )
    return inside
