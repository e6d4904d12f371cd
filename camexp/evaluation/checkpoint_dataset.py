"""The data set that a checkpoint names. A checkpoint may come from anyone: it gets images read, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camexp.config import DatasetOptions
from camexp.data.shapes import shapes_folder
from camexp.errors import UserError

NAMES = "caltech101 caltech256 cub200 imagefolder imagenet shapes torchvision webdataset wsol"
DATASETS = frozenset(f"camexp.data.find_{name}" for name in NAMES.split())
FETCHES = ("download", "url", "md5")
COMMON = frozenset(DatasetOptions.model_fields)


def recorded_dataset(dataset: Any) -> DatasetOptions:
    """The data set's options, if they are one of ours with plain values; nothing is drawn and nothing downloaded.

    Raises:
        UserError: it names something else, or images that are not there.

    >>> recorded_dataset({"_target_": "camexp.data.find_imagefolder", "root": "photos", "download": True}).extra["root"]
    'photos'
    >>> recorded_dataset({"_target_": "os.system", "command": "ls"})
    Traceback (most recent call last):
    ...
    camexp.errors.UserError: ckpt: its data set os.system is none of camexp's own: give dataset=… yourself
    """
    target = dataset.get("_target_") if isinstance(dataset, Mapping) else None
    if target == "camexp.data.find_huggingface":  # it converts what it is pointed at, and writes that to the disk
        raise UserError(
            "ckpt: its data set is read by another library: give dataset=huggingface dataset.path=… yourself"
        )
    if not isinstance(target, str) or target not in DATASETS:
        raise UserError(f"ckpt: its data set {target!s:.80} is none of camexp's own: give dataset=… yourself")
    options = {key: value for key, value in dataset.items() if key not in ("_target_", *FETCHES)}
    for key, value in options.items():
        # Hydra would call what a mapping names, wherever it stands, and look up what ${…} names
        if not isinstance(key, str) or key.startswith("_") or not _is_plain(value):
            raise UserError(
                f"ckpt: its data set with {key!s:.40}={value!s:.80} is none of camexp's own: give dataset=… yourself"
            )
    if target.endswith("find_shapes"):
        _require_drawn({key: value for key, value in options.items() if key not in COMMON})
    return DatasetOptions.read({"_target_": target, **options}, "ckpt: its dataset")


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(one) and not isinstance(one, (list, tuple)) for one in value)
    return value is None or isinstance(value, (bool, int, float)) or (isinstance(value, str) and "${" not in value)


def _require_drawn(options: Mapping[str, Any]) -> None:
    """``shapes`` draws what is absent, wherever it is told to: only the user may ask for that."""
    try:
        folder: Path | None = shapes_folder(**options)
    except (TypeError, ValueError):
        folder = None
    if folder is None or not folder.is_dir():
        given = " ".join(f"dataset.{key}={value}" for key, value in options.items())
        raise UserError(
            f"ckpt: the pictures it was trained on are not at {folder or 'the root that it names'}: "
            f"draw them with dataset=shapes {given[:300]}, or give another dataset=…"
        )
