"""The thresholds that an earlier evaluation found best."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from camexp.config.options import as_written
from camexp.errors import UserError
from camexp.run_files import EVALUATION


def read_thresholds(source: Any, methods: Iterable[str]) -> dict[str, dict[str, float]]:
    """The best thresholds of an earlier evaluation, by method.

    Args:
        source: its output folder, what ``threshold.from`` says; ``None``: nothing is read.
        methods: those that are needed.

    Returns:
        Of each method of that evaluation the best for ``MaxBoxAcc`` and for ``MaxBoxAccV2``, in [0, 1].

    Raises:
        UserError: no evaluation there, one without boxes, or without one of the methods.
    """
    if source is None:
        return {}
    try:
        found = {
            name: {"MaxBoxAcc": _share(one["best_threshold"]), "MaxBoxAccV2": _share(one["best_threshold_v2"])}
            for name, one in _read(source)["methods"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"threshold.from={source} holds no evaluation with boxes ({error}): give the output folder of one"
        ) from error
    if missing := [name for name in methods if name not in found]:
        raise UserError(
            f"threshold.from={source} has no figures of {missing[0]}: it has those of {', '.join(found)}, "
            "so take one of these or the folder of another evaluation"
        )
    return found


def measured_otherwise(source: Any, cam: Mapping[str, Any]) -> list[str]:
    """The options of the maps that an evaluation was run with, where they are not these: its threshold may not suit.

    Args:
        source: as for :func:`read_thresholds`, which has read it.
        cam: the options of ``cam`` by name.
    """
    recorded = _read(source).get("cam")
    if not isinstance(recorded, dict):
        return []
    return [f"cam.{key}={as_written(value)}" for key, value in recorded.items() if key in cam and cam[key] != value]


def _read(source: Any) -> dict[str, Any]:
    content = json.loads((Path(str(source)).expanduser() / EVALUATION).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{EVALUATION} is no object")
    return content


def _share(value: Any) -> float:
    if not 0 <= (number := float(value)) <= 1:
        raise ValueError(f"{value} is no threshold from 0 to 1")
    return number
