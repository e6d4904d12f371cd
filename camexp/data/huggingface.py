"""Data sets of Hugging Face's library: tables of encoded images, memory-mapped as Arrow."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from camexp.data.huggingface_columns import (
    as_image_set,
    choose_splits,
    find_image_column,
    find_label_column,
    read_labels,
)
from camexp.data.imageset import ImageSet
from camexp.data.source import bytes_digest
from camexp.errors import UserError, reason
from camexp.files import content_digest
from camexp.images import UnreadableImage, decode_image, read_image
from camexp.packages import require
from camexp.record_log import KEY_BYTES

log = logging.getLogger(__name__)

KINDS = {".parquet": "parquet", ".arrow": "arrow"}
EXPECTED = "expected a folder of Parquet files or of images, what save_to_disk wrote, a .parquet, or a name of the hub"


def find_huggingface(
    path: str | None,
    root: str | None = None,
    config: str | None = None,
    splits: str | Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    download: bool = False,
    streaming: bool = False,
    max_gb: float = 20,
) -> ImageSet:
    """A data set that ``datasets.load_dataset`` or ``load_from_disk`` reads. No code of it is executed.

    Its splits are the parts: ``train``; ``validation``, ``valid``, ``val`` or ``dev``; ``test``. An image is called as
    the table calls it, ``PATH/train/NAME``, or else by its number, ``PATH/train/000123``.

    Args:
        path: a folder, a ``.parquet`` or ``.arrow`` file, or a name of the hub.
        root: where the library keeps its Arrow files; ``None``: its own cache.
        config: of a data set that has several.
        splits: which of them; ``None``: all that are parts, or the only one.
        image_column, label_column: ``None``: the only ones of their kind. ``label_column=none``: images without
            classes, for predict.
        download: fetch a data set of the hub that is not in the cache.
        streaming: read Parquet files where they lie, in the hub too, as many rows at a time as they keep together; else
            the library makes Arrow files of all rows first.
        max_gb: of what streaming keeps of the images in ``root``, in 10⁹ bytes.

    Raises:
        UserError: no such data set, column or split, labels that are no classes, or no Parquet files to stream.
    """
    if not path:
        raise UserError(f"dataset.path is not given: {EXPECTED}")
    datasets = require("datasets", "dataset=huggingface", "camexp[huggingface]")
    if streaming:
        from camexp.data.huggingface_streaming import stream_parquet

        with _offline(datasets, not download):
            return stream_parquet(path, root, config, splits, image_column, label_column, max_gb, download)
    parts = choose_splits(_load(datasets, path, config, root, download), path, splits)
    first = next(iter(parts.values()))
    image = find_image_column(datasets, first.features, image_column)
    label = find_label_column(datasets, first.features, label_column, image)
    columns = [image] if label is None else [image, label]
    try:
        whole = datasets.concatenate_datasets([table.select_columns(columns) for table in parts.values()])
        rows = whole.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # Arrow's, of a column of another kind or of splits that differ
        raise UserError(f"dataset.image_column={image} holds no images ({reason(error)}): choose another") from error
    values, named = range(len(whole)), None
    if label is not None:
        values = whole.select_columns([label]).with_format("arrow")[:].column(label).to_pylist()
        named = getattr(first.features[label], "names", None)
    labels, classes = read_labels(values, label, named)
    names, embedded = _names(rows, image)
    source = TableImages(rows, image) if embedded or not all(names) else None  # else a folder of images
    return as_image_set(path, {split: len(table) for split, table in parts.items()}, names, labels, classes, source)


class TableImages:
    """Encoded images in a column of an Arrow table, which is mapped into memory: a row is read when it is asked for.

    Args:
        rows: a ``datasets.Dataset`` whose column holds ``bytes`` and ``path``.
        column: its name.
    """

    def __init__(self, rows: Any, column: str):
        self.rows, self.column = rows, column
        self.name = str(rows._fingerprint)  # the library's own: of the files and all that was done to them

    def __len__(self) -> int:
        return len(self.rows)

    def _row(self, index: int) -> tuple[bytes | None, str]:
        row = self.rows[index][self.column] or {}
        return row.get("bytes"), row.get("path") or ""

    def read(self, index: int) -> Image.Image:
        content, path = self._row(index)
        if content is None and not path:
            raise UnreadableImage("the table holds no image in this row")
        return decode_image(content) if content is not None else read_image(path)

    def digest(self, index: int) -> str:
        content, path = self._row(index)
        return content_digest(path) if content is None and path else bytes_digest(content or b"")

    def key(self, index: int) -> bytes | None:
        return hashlib.blake2b(f"{self.name} {index}".encode(), digest_size=KEY_BYTES).digest()


@contextmanager
def _offline(datasets: Any, wanted: bool) -> Iterator[None]:
    """The library's own switch: it is read when the library is imported, and here it is ours to turn."""
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if wanted:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def _load(datasets: Any, path: str, config: str | None, root: str | None, download: bool) -> Mapping[str, Any]:
    """Its splits by name."""
    local = Path(path).expanduser()
    cache = None if root is None else str(Path(root).expanduser())
    try:
        with _offline(datasets, not download), _quiet(datasets):
            if any((local / name).is_file() for name in ("dataset_dict.json", "state.json")):
                found = datasets.load_from_disk(str(local))
            elif local.suffix in KINDS and local.is_file():
                found = datasets.load_dataset(KINDS[local.suffix], data_files=str(local), cache_dir=cache)
            elif local.is_file():
                raise UserError(f"dataset.path={path} has the ending {local.suffix or '(none)'}: {EXPECTED}")
            else:
                found = datasets.load_dataset(str(local) if local.is_dir() else path, config, cache_dir=cache)
    except UserError:
        raise
    except Exception as error:  # its readers raise all there is
        hub = not local.exists() and not download
        todo = "fetch it from the hub with dataset.download=true" if hub else EXPECTED
        raise UserError(f"dataset.path={path} cannot be read ({reason(error)}): {todo}") from error
    return found if isinstance(found, Mapping) else {str(found.split or "train"): found}


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Without the library's bars, which are many and short."""
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _names(rows: Any, column: str) -> tuple[list[str], bool]:
    """What the table calls each image, ``""`` where it does not; whether it holds the bytes of any."""
    fields = rows.flatten().with_format("arrow")
    content = fields.data.column(f"{column}.bytes")
    paths = fields.select_columns([f"{column}.path"])[:].column(f"{column}.path").to_pylist()
    return [path or "" for path in paths], content.null_count < len(content)
