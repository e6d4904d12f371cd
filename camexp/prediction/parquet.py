"""Maps and boxes in Parquet files, a row an image and class: for pandas, polars, DuckDB, Spark."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camexp.config import PredictOptions
from camexp.files import as_text, atomic_write
from camexp.launching.shards import Shard
from camexp.methods import describe_maps
from camexp.packages import require
from camexp.prediction.map_files import MapFiles, Portion, as_float16
from camexp.prediction.results import Explanation
from camexp.prediction.writer import Rows

BATCHES = 256  # images, that are held apart
GROUP_ROWS = 8192  # of a row group: what a reader must take at least


class ParquetMaps(MapFiles):
    """``maps-00000.parquet`` …; the records are Arrow's own messages (its IPC stream).

    Args:
        folder: where the results of all shards are.
        shard: whose files these are.
        options: how the maps are made.
        pool: of the network's head.

    Raises:
        UserError: pyarrow is not installed.
    """

    records = ".maps.arrows"
    suffix = "parquet"

    def __init__(self, folder: Path, shard: Shard, options: PredictOptions, pool: str = "gap"):
        super().__init__(folder, shard)
        self.schema = maps_schema(describe_maps(options.cam, pool))
        self.header = self.schema.serialize().to_pybytes()

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        message: bytes = maps_batch(image, rows, self.schema).serialize().to_pybytes()
        return message

    def read(self, records: Path) -> Iterator[Portion]:
        with records.open("rb") as file, import_pyarrow().ipc.open_stream(file) as stream:
            yield from (Portion(batch, batch.nbytes) for batch in stream)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[Any], None]]:
        import pyarrow.parquet as parquet

        # zstd: maps are noise to any compression, paths and classes are not
        with atomic_write(path) as temporary, parquet.ParquetWriter(temporary, self.schema, compression="zstd") as file:
            rows = _Rows(file)
            yield rows.append
            rows.write()


class _Rows:
    """Rows on their way into a Parquet file, a row group at a time.

    An image's record batch takes ten times the memory of its bytes, so that few are held as they came.
    """

    def __init__(self, file: Any):
        self.file = file
        self.batches: list[Any] = []
        self.tables: list[Any] = []
        self.count = 0

    def append(self, batch: Any) -> None:
        self.batches.append(batch)
        self.count += batch.num_rows
        if len(self.batches) >= BATCHES:
            self._join()
        if self.count >= GROUP_ROWS:
            self.write()

    def write(self) -> None:
        """What has come since the last time, as row groups."""
        self._join()
        if self.tables:
            self.file.write_table(import_pyarrow().concat_tables(self.tables).combine_chunks(), GROUP_ROWS)
        self.tables, self.count = [], 0

    def _join(self) -> None:
        if self.batches:
            self.tables.append(import_pyarrow().Table.from_batches(self.batches).combine_chunks())
            self.batches = []


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
        "path": [as_text(image.path)] * count,
        "digest": [image.digest] * count,
        "class": [as_text(image.classes[label]) for label in image.labels],
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


def import_pyarrow() -> Any:
    """pyarrow.

    Raises:
        UserError: it is not installed.
    """
    return require("pyarrow", "format=parquet", "camexp[parquet]")
