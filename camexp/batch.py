"""Maps of batches of images that another engine hands over: Ray Data, Spark, Dask.

The engine reads, divides and repeats; here a batch becomes a table. To write files by camexp itself, divided over
processes and clusters, there is ``camexp predict shards=…``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from camexp.config import PredictOptions
from camexp.data import ImageSet
from camexp.data.imageset import UNLABELLED
from camexp.data.source import bytes_digest
from camexp.errors import UserError
from camexp.images import UnreadableImage, decode_image, to_rgb
from camexp.methods import build_method, describe_maps, require_layers
from camexp.prediction import load_model
from camexp.prediction.batches import Unreadable, batches
from camexp.prediction.explaining import explain, read_label
from camexp.prediction.parquet import import_pyarrow, maps_batch, maps_schema
from camexp.prediction.results import write_results


class Explainer:
    """Logits, maps and boxes of images, a batch at a time: a callable that an engine keeps in a process of its own.

    A row of its result is an image and a class: the columns of ``format=parquet``
    (:func:`camexp.prediction.parquet.maps_schema`), with ``logits``, those of all classes, and ``error``, which is null
    but for an image that cannot be decoded: that one has a single row, without anything else.

    Args:
        ckpt: a checkpoint, or a published network as ``timm/resnet50``.
        label: whose maps: ``predicted``, ``top5``, ``all``, a class or a list of classes.
        cam: the ``cam`` group's options, as ``{"method": "pc1", "affinity": "auto"}``.
        column: where the images are: bytes of files, or arrays ``(H, W, 3)`` uint8; ``None``: ``bytes``, ``image`` or
            ``content``, whichever there is.
        path: the column with the images' names; where it is absent they are numbered.
        batch_size: images of one forward pass at most.
        gpus: as ``camexp predict`` takes it; ``None``: a GPU if there is one.
        precision: likewise.

    Raises:
        UserError: a wrong option, or pyarrow is not installed.

    >>> from camexp.batch import Explainer
    >>> import ray  # doctest: +SKIP
    >>> images = ray.data.read_binary_files("photos", include_paths=True)  # doctest: +SKIP
    >>> maps = images.map_batches(
    ...     Explainer, fn_constructor_kwargs={"ckpt": "best.ckpt"}, concurrency=2, batch_size=64
    ... )  # doctest: +SKIP
    """

    def __init__(
        self, ckpt: str, label: Any = "predicted", cam: Mapping[str, Any] | None = None, column: str | None = None,
        path: str = "path", batch_size: int = 16, gpus: int | list[int] | None = None, precision: str = "auto",
    ):  # fmt: skip
        self.options = PredictOptions.read(
            {"ckpt": str(ckpt), "input": "a batch", "label": label, "cam": {"method": "cam", **(cam or {})},
             "batch_size": batch_size, "gpus": gpus, "precision": precision, "format": "parquet"}
        )  # fmt: skip
        self.column, self.path = column, path
        self.model = load_model(self.options)
        self.method = build_method(self.options.cam)
        require_layers(self.method, self.model)
        self.label = read_label(label, self.model.classes)
        arrow = import_pyarrow()
        made = maps_schema(describe_maps(self.options.cam, self.model.head.pool))
        self.schema = made.append(arrow.field("logits", arrow.list_(arrow.float32()))).append(
            arrow.field("error", arrow.string())
        )

    def __call__(self, batch: Any) -> Any:
        """A pyarrow Table of the maps.

        Args:
            batch: a pyarrow Table or RecordBatch, or columns by name, as NumPy arrays or lists.

        Raises:
            UserError: no column with images.
        """
        arrow = import_pyarrow()
        images = _as_images(batch, self.column, self.path)
        rows: dict[int, Any] = {}
        for some in batches(images, self.model.preprocessing, self.options.batch_size, 0, digests=True):
            if isinstance(some, Unreadable):
                rows[some.index] = self._error(images.paths[some.index], some.reason)
                continue
            explained = explain(self.model, some, images.paths, self.label, self.method)
            for picture, image in zip(some, explained, strict=True):
                found = write_results(image, "", self.model.classes, Path(), self.options)
                one = maps_batch(image, found, self.schema, logits=[image.logits.tolist()] * len(found))
                rows[picture.index] = one
        return arrow.Table.from_batches([rows[index] for index in sorted(rows)], schema=self.schema)

    def _error(self, path: Path, reason: str) -> Any:
        arrow = import_pyarrow()
        known = {"path": str(path), "error": reason}
        return arrow.RecordBatch.from_pydict({name: [known.get(name)] for name in self.schema.names}, self.schema)


@dataclass(frozen=True)
class _Column:
    """Images of a column, as a source."""

    images: Sequence[Any]

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> Image.Image:
        image = self.images[index]
        if isinstance(image, (bytes, bytearray, memoryview)):
            return decode_image(bytes(image))
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
            raise UnreadableImage(f"{pixels.dtype} {pixels.shape}: expected the bytes of a file, or (H, W, 3) uint8")
        try:
            return to_rgb(Image.fromarray(pixels))
        except (TypeError, ValueError) as error:
            raise UnreadableImage(str(error)) from error

    def digest(self, index: int) -> str:
        image = self.images[index]
        return bytes_digest(bytes(image) if isinstance(image, (bytes, bytearray, memoryview)) else
                            np.ascontiguousarray(image).tobytes())  # fmt: skip

    def key(self, index: int) -> bytes | None:
        return None


def _as_images(batch: Any, column: str | None, path: str) -> ImageSet:
    columns = (
        dict(batch)
        if isinstance(batch, Mapping)
        else {name: batch.column(name).to_pylist() for name in batch.schema.names}
    )
    names = [column] if column is not None else ["bytes", "image", "content"]
    name = next((one for one in names if one in columns), None)
    if name is None:
        raise UserError(
            f"column={column}: no images in the columns {', '.join(map(str, columns)) or '(none)'}: give the name of "
            "the one that holds the bytes of files, or (H, W, 3) uint8 arrays"
        )
    images = columns[name]
    if path in columns and len(columns[path]) != len(images):
        raise UserError(f"path={path}: {len(columns[path])} values in that column, and {len(images)} images in {name}")
    paths = [Path(str(one)) for one in columns[path]] if path in columns else [Path(str(n)) for n in range(len(images))]
    return ImageSet(Path(), UNLABELLED, paths, [0] * len(images), source=_Column(images))
