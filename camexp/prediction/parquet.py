"""Maps and boxes in Parquet files, a row an image and class: for pandas, polars, DuckDB, Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.config import PredictOptions
from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.launching.shards import Shard
from camexp.methods import describe_maps
from camexp.prediction.results import Explanation
from camexp.prediction.writer import Rows, Writer

FILE_BYTES = 128 * 10**6  # of a file, about: what readers of Parquet like
GROUP_ROWS = 8192  # of a row group: what a reader must take at least


class ParquetMaps(Writer):
    """``maps-00000.parquet`` …; of shards ``maps-00003-of-00016-00000.parquet`` …

    Records are Arrow's own messages (its IPC stream), which may be cut after any of them; they become Parquet files
    once all images are there.

    Args:
        folder: where the results of all shards are.
        shard: whose files these are.
        options: how the maps are made.
        pool: of the network's head.

    Raises:
        UserError: pyarrow is not installed.
    """

    records = ".maps.arrows"
    of_shard = True

    def __init__(self, folder: Path, shard: Shard, options: PredictOptions, pool: str = "gap"):
        self.folder = folder
        self.prefix = "maps" if shard.count == 1 else f"maps-{shard.name}"
        self.schema = maps_schema(describe_maps(options.cam, pool))
        self.header = self.schema.serialize().to_pybytes()

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        message: bytes = maps_batch(image, rows, self.schema).serialize().to_pybytes()
        return message

    def assemble(self, records: Sequence[Path], finished: bool = True) -> None:
        if not finished:
            return
        for path in self.folder.glob(f"{self.prefix}-[0-9][0-9][0-9][0-9][0-9].parquet"):
            path.unlink()  # of an earlier run, which may have had more
        batches = _stream(records)
        for number, some in enumerate(_portions(batches, FILE_BYTES)):
            self._write(self.folder / f"{self.prefix}-{number:05d}.parquet", some)

    def _write(self, path: Path, batches: list[Any]) -> None:
        arrow = import_pyarrow()
        import pyarrow.parquet as parquet

        table = arrow.Table.from_batches(batches).combine_chunks()
        with atomic_write(path) as temporary:
            # zstd: maps are noise to any compression, paths and classes are not
            parquet.write_table(table, temporary, row_group_size=GROUP_ROWS, compression="zstd")


def maps_schema(made: str = "") -> Any:
    """The columns.

    Args:
        made: how the maps were made, kept in the files' metadata.

    >>> maps_schema().names[:6]
    ['path', 'digest', 'class', 'label', 'probability', 'x0']
    """
    arrow = import_pyarrow()
    box = [(name, arrow.int32()) for name in ("x0", "y0", "x1", "y1")]
    return arrow.schema(
        [
            ("path", arrow.string()), ("digest", arrow.string()), ("class", arrow.string()), ("label", arrow.int32()),
            ("probability", arrow.float32()), *box, ("image_height", arrow.int32()), ("image_width", arrow.int32()),
            ("map", arrow.binary()), ("map_height", arrow.int32()), ("map_width", arrow.int32()),
            ("map_dtype", arrow.string()),
        ],
        metadata={"camexp": json.dumps({"made": made})},
    )  # fmt: skip


def maps_batch(image: Explanation, rows: Rows, schema: Any, **more: Any) -> Any:
    """An image's maps as a record batch, a row a map.

    Args:
        image: with its maps ``(K, h, w)``.
        rows: its K rows of ``predictions.csv``, from which the boxes are taken.
        schema: see :func:`maps_schema`.
        more: other columns of the schema; those that nobody gives are null.
    """
    arrow = import_pyarrow()
    count = len(image.labels)
    maps = [as_float16(cam) for cam in image.maps]
    boxes = [row[4:8] for row in rows]
    columns = {
        "path": [str(image.path).encode("utf-8", "replace").decode()] * count,
        "digest": [image.digest] * count,
        "class": [image.classes[label].encode("utf-8", "replace").decode() for label in image.labels],
        "label": [int(label) for label in image.labels],
        "probability": [float(image.probabilities[label]) for label in image.labels],
        **{name: [None if box[n] is None else int(box[n]) for box in boxes]
           for n, name in enumerate(("x0", "y0", "x1", "y1"))},
        "image_height": [image.size[0]] * count,
        "image_width": [image.size[1]] * count,
        "map": [cam.tobytes() for cam in maps],
        "map_height": [cam.shape[0] for cam in maps],
        "map_width": [cam.shape[1] for cam in maps],
        "map_dtype": [cam.dtype.name for cam in maps],
    }  # fmt: skip
    columns |= {name: more.get(name, [None] * count) for name in schema.names if name not in columns}
    return arrow.RecordBatch.from_pydict(columns, schema=schema)


def as_float16(cam: NDArray[np.float32]) -> NDArray[Any]:
    """A map in half the bytes, little-endian; as it is where float16 cannot hold its values.

    >>> as_float16(np.array([[1.5]], np.float32)).dtype.name, as_float16(np.array([[1e6]], np.float32)).dtype.name
    ('float16', 'float32')
    """
    with np.errstate(over="ignore"):
        half = cam.astype("<f2")
    return half if np.array_equal(np.isfinite(half), np.isfinite(cam)) else cam.astype("<f4")


def import_pyarrow() -> Any:
    """pyarrow.

    Raises:
        UserError: it is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UserError("format=parquet needs pyarrow: pip install 'camexp[parquet]'") from error
    return pyarrow


def _stream(records: Sequence[Path]) -> Iterator[Any]:
    arrow = import_pyarrow()
    for path in records:
        if path.exists():
            with path.open("rb") as file, arrow.ipc.open_stream(file) as stream:
                yield from stream


def _portions(batches: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Lists of batches of about so many bytes each."""
    some: list[Any] = []
    held = 0
    for batch in batches:
        some.append(batch)
        held += batch.nbytes
        if held >= size:
            yield some
            some, held = [], 0
    if some:
        yield some
