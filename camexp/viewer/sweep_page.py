"""``compare.html``: the runs of a sweep side by side, and what the watched image's map became in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from camexp.reporting.comparison import METRICS, Job, differing_options
from camexp.run_files import CAM_MAPS, CAMS, COMPARISON
from camexp.viewer.items import meta
from camexp.viewer.page import VIEWER, json_text, write_page
from camexp.viewer.watched import Watched, read_watched

SCRIPTS = (*VIEWER, "table", "player", "parallel", "sweep")
MOST_BYTES = 24e6  # of all maps of the page


def write_sweep_page(folder: Path, jobs: Sequence[Job]) -> Path:
    """Write ``compare.html`` into a sweep's folder.

    Args:
        folder: of the sweep.
        jobs: see :func:`camexp.reporting.comparison.find_jobs`; one without maps has its row and line too.
    """
    watched = [read_watched(job.folder / CAMS / CAM_MAPS, MOST_BYTES / len(jobs)) for job in jobs]
    path = folder / f"{COMPARISON}.html"
    page = sweep_page(folder, jobs, watched)
    write_page(path, page["title"], SCRIPTS, page, _blocks(watched))
    return path


def sweep_page(folder: Path, jobs: Sequence[Job], watched: Sequence[Watched]) -> dict[str, Any]:
    """What the page says, but for the maps."""
    options = differing_options(jobs)
    metrics = [name for name in METRICS if any(name in job.final for job in jobs)]
    values: list[list[Any]] = [
        [*(_value(job.options.get(key)) for key in options), job.best, *(job.final.get(name) for name in metrics)]
        for job in jobs
    ]
    names = [*options, "best val/accuracy", *metrics]
    columns = [
        {"name": name, "type": "number" if _numeric([row[i] for row in values]) else "text", "option": i < len(options)}
        for i, name in enumerate(names)
    ]
    rows = [
        [value if value is None or columns[i]["type"] == "number" else str(value) for i, value in enumerate(row)]
        for row in values
    ]
    photos: list[str] = []  # once, where jobs watched the same image
    lists: list[list[str]] = []
    for one in watched:
        photos += [one.images[0]["photo"]] if one.images and one.images[0]["photo"] not in photos else []
        lists += [one.classes] if one.images and one.classes not in lists else []
    listed = [
        {"name": job.name, "state": job.state, "failure": job.failure, "film": _film(one, photos, lists)}
        for job, one in zip(jobs, watched, strict=True)
    ]
    finished = sum(job.best is not None for job in jobs)
    identity = all(one.identity for one in watched if one.images)
    style = next((job.options for job in jobs if "inspect.colormap" in job.options), {})
    colormap, alpha = str(style.get("inspect.colormap", "jet")), float(style.get("inspect.alpha", 0.5))
    best = "" if jobs[0].best is None else f", the best accuracy {jobs[0].best:.4f} in job {jobs[0].name}"
    return {
        "title": f"{folder.absolute().name}: {len(jobs)} jobs",
        "subtitle": f"{finished} with a result{best}",
        "meta": meta([], identity, colormap=colormap, opacity=alpha),
        "columns": columns, "rows": rows, "best": len(options), "jobs": listed, "photos": photos, "classes": lists,
    }  # fmt: skip


def _film(one: Watched, photos: list[str], lists: list[list[str]]) -> dict[str, Any] | None:
    if not one.images:
        return None
    image = dict(one.images[0])
    return {**image, "photo": photos.index(image["photo"]), "classes": lists.index(one.classes)}


def _blocks(watched: Sequence[Watched]) -> Iterator[str]:
    for number, one in enumerate(watched):
        steps = [line for line in one.steps if '"image":0,' in line]
        yield f'[{json_text({"job": number})[:-1]},"steps":[{",".join(steps)}]}}]'


def _value(value: Any) -> Any:
    """A number where text is one: ``1e-3`` is text in YAML."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < float("inf") for v in known
    )
