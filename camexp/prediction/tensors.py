"""Maps in safetensors files, a tensor an image: arrays for NumPy, PyTorch and JAX."""

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
from camexp.prediction.inputs import distinct
from camexp.prediction.map_files import MapFiles, Portion, as_float16
from camexp.prediction.results import Explanation
from camexp.prediction.writer import Rows

ENTRY_BYTES = 200  # of a tensor in a file's header, besides its path and labels
HEADER_WEIGHT = 2  # for it may have 100 MB, less than a file, which is mostly header where maps are small


class TensorMaps(MapFiles):
    """``maps-00000.safetensors`` …: tensor ``PATH`` has the raw maps ``(K, h, w)`` of that image, in the order of its K
    rows in ``predictions.csv``; float16, but float32 where that cannot hold a value. The metadata ``camexp`` are JSON:
    ``labels``, the K class indices of each path, and ``made``, how the maps were made.

    Args:
        folder: where the results of all shards are.
        shard: whose files these are.
        options: how the maps are made.
        pool: of the network's head.
    """

    records = ".maps.tensors"
    suffix = "safetensors"

    def __init__(self, folder: Path, shard: Shard, options: PredictOptions, pool: str = "gap"):
        super().__init__(folder, shard)
        self.made = describe_maps(options.cam, pool)

    def prepare(self, index: int, image: Explanation, rows: Rows) -> bytes:
        labels = json.dumps([int(label) for label in image.labels])
        record: bytes = import_safetensors().save({as_text(image.path): as_float16(image.maps)}, {"labels": labels})
        return len(record).to_bytes(8, "little") + record

    def read(self, records: Path) -> Iterator[Portion]:
        with records.open("rb") as file:
            while size := file.read(8):
                record = file.read(int.from_bytes(size, "little"))
                header = json.loads(record[8 : 8 + int.from_bytes(record[:8], "little")])
                [(path, maps)] = import_safetensors().load(record).items()
                labels = json.loads(header["__metadata__"]["labels"])
                told = len(_json(_json({path: labels})).encode()) + len(_json(path).encode()) + ENTRY_BYTES
                yield Portion((path, maps, labels), maps.nbytes + HEADER_WEIGHT * told)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Callable[[Any], None]]:
        contents: list[tuple[str, Any, list[int]]] = []
        yield contents.append
        # one key: the library writes several in no particular order, and the same maps are to be the same bytes
        names = distinct([name for name, _, _ in contents])  # a tar may have a name twice
        labels = {name: labels for name, (_, _, labels) in zip(names, contents, strict=True)}
        metadata = {"camexp": _json({"made": self.made, "labels": labels})}
        with atomic_write(path) as temporary:
            import_safetensors().save_file(
                {name: maps for name, (_, maps, _) in zip(names, contents, strict=True)}, temporary, metadata
            )


def import_safetensors() -> Any:
    """safetensors.numpy.

    Raises:
        UserError: it is not installed.
    """
    return require("safetensors.numpy", "format=safetensors", "safetensors")


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
