"""``report.html`` of a training run: of its folder alone, while it trains or long after."""

from __future__ import annotations

import csv
import json
import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camexp.config import flat
from camexp.config.defaults import changed_options
from camexp.reporting.progress import duration
from camexp.run_files import CAM_MAPS, CAMS, HYDRA, METRICS, REPORT, SUMMARY
from camexp.viewer.items import meta
from camexp.viewer.page import VIEWER, write_page
from camexp.viewer.watched import Watched, read_watched

POINTS = 1000  # of a curve: more than a screen has pixels for it
SCRIPTS = (*VIEWER, "charts", "table", "player", "scrubber", "run")

# curve: axis, and the columns of metrics.csv with their names
CURVES: dict[str, tuple[str, dict[str, str]]] = {
    "Loss": ("cross-entropy", {"train/loss": "training batch", "val/loss": "validation"}),
    "Accuracy": ("share", {"train/accuracy": "training batch", "val/accuracy": "validation"}),
    "Localisation": ("share", {"val/pointing": "map's peak on the object"}),
    "Learning rate": ("", {"lr": "learning rate"}),
    "Speed": ("images/s", {"images_per_second": "images per second"}),
    "L2 of the head": ("", {"train/l2": "penalty"}),
    "Penalty of regularise": ("", {"train/regularise": "penalty"}),
}


def write_run_page(folder: Path, now: Mapping[str, Any] | None = None) -> Path:
    """Write a run's page into its folder.

    Args:
        folder: of the run; whatever of its files is missing is missing in the page.
        now: what ``summary.json`` will hold at the end, as far as it is known while the run trains.

    Returns:
        The page.
    """
    watched = read_watched(folder / CAMS / CAM_MAPS)
    path = folder / REPORT
    page = run_page(folder, watched, now)
    write_page(path, page["title"], SCRIPTS, page, [f"[{','.join(watched.steps)}]"])
    return path


def run_page(folder: Path, watched: Watched, now: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the page says, but for the steps' maps."""
    summary = dict(now) if now is not None else read_json(folder / SUMMARY)
    options, choices, overrides = configuration(folder, summary)
    curves = read_curves(folder / METRICS)
    what = f"Raw maps of {options.get('cam.method', 'cam')}"
    if (pool := options.get("model.head.pool", "gap")) != "gap":
        what += f", of a head with {pool} pooling"
    colormap, alpha = str(options.get("inspect.colormap", "jet")), float(options.get("inspect.alpha", 0.5))
    return {
        "title": folder.absolute().name,
        "subtitle": subtitle(summary, curves, running=now is not None),
        "meta": meta(watched.classes, watched.identity, what, colormap, alpha),
        "images": watched.images,
        "curves": curves,
        "options": changed_options(options, choices, overrides),
        "facts": facts(folder, summary, overrides),
    }


def subtitle(summary: Mapping[str, Any], curves: Sequence[Mapping[str, Any]], running: bool) -> str:
    """Where the run stands, in a line."""
    accuracies = [
        point for curve in curves if curve["title"] == "Accuracy" for line in curve["series"]
        if line["name"] == "validation" for point in line["points"]
    ]  # fmt: skip
    steps = max((line["points"][-1][0] for curve in curves for line in curve["series"]), default=0)
    parts = [f"{'step' if running else 'steps:'} {summary.get('steps', steps)}"]
    if accuracies:
        best = max(accuracies, key=lambda point: point[1])
        parts.append(f"validation accuracy {accuracies[-1][1]:.4f} (best {best[1]:.4f} at step {best[0]})")
    if running:
        parts.append("it still trains, or was stopped: reload this page to see what came since")
    return ", ".join(parts)


def read_curves(path: Path) -> list[dict[str, Any]]:
    """The curves of ``metrics.csv`` that have points: ``title``, ``y``, ``series`` of ``name`` and ``points``.

    >>> read_curves(Path("/nowhere"))
    []
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        rows = []
    curves = []
    for title, (y, columns) in CURVES.items():
        series = [{"name": name, "points": thinned(list(_points(rows, column)))} for column, name in columns.items()]
        if drawn := [line for line in series if line["points"]]:
            curves.append({"title": title, "y": y, "series": drawn})
    return curves


def _points(rows: Iterable[Mapping[str, Any]], column: str) -> Iterable[tuple[int, float]]:
    for row in rows:
        try:
            step, value = int(row["step"]), float(row[column])
        except (KeyError, TypeError, ValueError):  # an empty cell, or a line that is just being written
            continue
        if math.isfinite(value):
            yield step, value


def thinned(points: Sequence[tuple[int, float]], most: int = POINTS) -> list[tuple[int, float]]:
    """At most so many points, of which the extremes remain: the lowest and the highest of each stretch.

    >>> thinned([(0, 0.0), (1, 9.0), (2, 1.0), (3, 1.5), (4, 1.0), (5, 0.5)], most=4)
    [(0, 0.0), (1, 9.0), (3, 1.5), (5, 0.5)]
    """
    if len(points) <= most:
        return list(points)
    length = -(-len(points) * 2 // most)
    kept: dict[int, tuple[int, float]] = {}
    for start in range(0, len(points), length):
        part = range(start, min(start + length, len(points)))
        for index in sorted({min(part, key=lambda i: points[i][1]), max(part, key=lambda i: points[i][1])}):
            kept[index] = points[index]
    return list(kept.values())


def configuration(folder: Path, summary: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """A run's options as ``a.b``, the choice of each group, and what the command named."""
    try:
        asked = OmegaConf.to_container(OmegaConf.load(folder / HYDRA / "config.yaml"))
        hydra: Any = OmegaConf.to_container(OmegaConf.load(folder / HYDRA / "hydra.yaml"))
        options = flat(asked)  # type: ignore[arg-type]
        choices = {
            group: str(choice) for group, choice in hydra["hydra"]["runtime"]["choices"].items()
            if choice is not None and not group.startswith("hydra/")
        }  # fmt: skip
        overrides = [str(one) for one in hydra["hydra"]["overrides"]["task"]]
    except Exception:  # used as a library, not written yet, or cut short
        return {**summary.get("options", {})}, {}, []
    options.pop("run_dir", None)
    return {**options, **summary.get("options", {})}, choices, overrides


def facts(folder: Path, summary: Mapping[str, Any], overrides: Sequence[str]) -> list[tuple[str, str]]:
    """Hardware, versions and the rest of ``summary.json``, in words."""
    named = {
        "device": "device", "devices": "processes", "precision": "precision", "classes": "classes",
        "train_images": "training images", "val_images": "validation images",
        "images_per_second": "images per second", "git_commit": "commit of camexp",
    }  # fmt: skip
    plain = [re.sub(r"^([^=]+=)'([\w./+-]+)'$", r"\1\2", one) for one in overrides]  # quotes that Hydra needs not
    rows = [("command", shlex.join(["camexp", "train", *plain]))] if overrides or summary else []
    rows += [("run folder", str(folder.absolute()))]
    rows += [(words, str(summary[key])) for key, words in named.items() if summary.get(key) is not None]
    rows += [("time", duration(summary["seconds"]))] if "seconds" in summary else []
    rows += [(f"final {key}", f"{value:.4f}") for key, value in summary.get("final", {}).items()]
    return rows + [(name, str(version)) for name, version in summary.get("versions", {}).items()]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
