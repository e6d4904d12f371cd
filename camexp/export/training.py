"""What an export tells of its network's training: plain facts, and no path of the machine it was trained on."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import Any

from camexp import __version__

# The options of a run that say what came of it, by their keys; others name its files, devices and loggers.
KEPT = (
    "seed", "batch_size", "precision",
    "model.trunk", "model.width", "model.freeze", "model.output_stride", "model.out_layers", "model.head",
    "transform.size", "split", "optimizer", "scheduler", "trainer.max_epochs", "trainer.max_steps", "cam.method",
)  # fmt: skip


def training_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's configuration is kept: nested as there, and ``data``, the name of the data set.

    >>> training_facts({"seed": 0, "run_dir": "/runs/a", "dataset": {"root": "/data/llamas", "_target_":
    ...     "camexp.data.find_imagefolder"}, "trainer": {"max_epochs": 5, "gpus": 1}, "model": {"weights": "/b.npy"}})
    {'data': 'llamas', 'seed': 0, 'model': {'weights': 'b.npy'}, 'trainer': {'max_epochs': 5}}
    """
    facts: dict[str, Any] = {}
    if (name := data_name(config.get("dataset"))) is not None:
        facts["data"] = name
    if "seed" in config:
        facts["seed"] = config["seed"]
    weights = _at(config, "model.weights")
    if isinstance(weights, str):
        facts["model"] = {"weights": PurePath(weights).name}
    for key in KEPT:
        value = _at(config, key)
        if value is None or (isinstance(value, str) and PurePath(value).is_absolute()):
            continue
        inside = facts
        *path, last = key.split(".")
        for part in path:
            inside = inside.setdefault(part, {})
        inside[last] = dict(value) if isinstance(value, Mapping) else value
    return facts


def data_name(dataset: Any) -> str | None:
    """The name of a data set: that of its folder, or of its kind where there is no folder."""
    if not isinstance(dataset, Mapping):
        return None
    root, target = dataset.get("root"), dataset.get("_target_")
    if isinstance(root, str) and root:
        return PurePath(root).name
    return target.rpartition("find_")[2] if isinstance(target, str) else None


def _at(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def versions() -> dict[str, str]:
    """Of what the exported network depends on, and wrote it."""
    found = {"camexp": __version__, "python": platform.python_version()}
    for name in ("torch", "torchvision", "timm", "pillow", "onnx", "onnxscript", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
