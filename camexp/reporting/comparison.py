"""Runs side by side: what differs between them, what came of it, and where each one's network looks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camexp.files import display_path, save_png, write_csv
from camexp.run_files import CAMS, COMPARISON, DONE, FAILURE, HYDRA, SUMMARY

METRICS = ("val/accuracy", "val/loss", "val/pointing", "train/loss")
SAME = ("run_dir", "resume", "debug")  # differ, and tell nothing


@dataclass(frozen=True)
class Job:
    """One run of several.

    Attributes:
        folder: of the run.
        name: where that lies in the folder of all of them.
        options: all of them, as ``a.b``.
        best: the best validation accuracy, ``None`` while it is not finished.
        final: metrics at its end.
        failure: why it failed, if it did.
        pruned: whether it was ended early for promising little.
    """

    folder: Path
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    best: float | None = None
    final: dict[str, float] = field(default_factory=dict)
    failure: str = ""
    pruned: bool = False

    @property
    def state(self) -> str:
        if self.failure or self.best is None:
            return "failed" if self.failure else "unfinished"
        return "pruned" if self.pruned else "finished"


def job_folders(folder: Path) -> list[Path]:
    """The run folders below a folder, as deep as ``hydra.sweep.subdir`` puts them."""
    found = []
    for top in folder.iterdir() if folder.is_dir() else ():  # each by itself: it may be a link to a run
        for path, below, files in os.walk(top):
            if not {HYDRA, DONE, FAILURE}.isdisjoint([*below, *files]):
                found.append(Path(path))
                below.clear()  # what lies in a run, as a prediction of it, is none
    return found


def find_jobs(folder: Path) -> list[Job]:
    """The runs below a folder, the best first, then those without a result.

    >>> import tempfile
    >>> find_jobs(Path(tempfile.mkdtemp()))
    []
    """
    jobs = [_read(path, path.relative_to(folder).as_posix()) for path in job_folders(folder)]
    return sorted(jobs, key=lambda job: (-(job.best if job.best is not None else -1.0), _natural_key(job.name)))


def differing_options(jobs: Sequence[Job]) -> list[str]:
    """The options that are not the same in all of these runs.

    >>> differing_options([Job(Path("0"), "0", {"seed": 0, "lr": 1}), Job(Path("1"), "1", {"seed": 0.0, "lr": 2})])
    ['lr']
    """
    known = [job.options for job in jobs if job.options]
    keys = sorted({key for options in known for key in options if not key.startswith(SAME)})
    return [key for key in keys if len({_comparable(options[key]) for options in known if key in options}) > 1]


def table(jobs: Sequence[Job]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: job, what differs, the metrics, the state."""
    options = differing_options(jobs)
    metrics = [name for name in METRICS if any(name in job.final for job in jobs)]
    header = ["job", *options, "best val/accuracy", *metrics, "state"]
    rows = [
        [
            job.name,
            *(str(job.options.get(key, "")) for key in options),
            "" if job.best is None else f"{job.best:.4f}",
            *(f"{job.final[name]:.4f}" if name in job.final else "" for name in metrics),
            job.state,
        ]
        for job in jobs
    ]
    return header, rows


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as text.

    >>> print(format_table(["job", "lr"], [["0", "0.001"]]))
    job  lr
    0    0.001
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (header, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def write_comparison(folder: Path, jobs: Sequence[Job]) -> str:
    """Write ``compare.csv`` and ``compare.png`` into the folder; returns what to print."""
    header, rows = table(jobs)
    write_csv(folder / f"{COMPARISON}.csv", header, rows)
    written = [display_path(folder / f"{COMPARISON}.csv")]
    if contact_sheet(folder / f"{COMPARISON}.png", jobs):
        written.append(display_path(folder / f"{COMPARISON}.png"))
    rows_as_text, curves = format_table(header, rows), f"tensorboard --logdir {display_path(folder)}"
    return f"{rows_as_text}\n\nwritten: {', '.join(written)}\ncurves: {curves}"


def contact_sheet(path: Path, jobs: Sequence[Job], columns: int = 4) -> bool:
    """The final map of the watched image in every run that has one; returns whether there was any."""
    # a sweep's own process must not wait for what draws
    from camexp.images import open_image
    from camexp.reporting.figures import add_caption, grid

    options, tiles = differing_options(jobs), []
    for job in jobs:
        steps = sorted(job.folder.glob(f"{CAMS}/step_*.png"))
        if not steps:
            continue
        with open_image(steps[-1]) as opened:
            picture = opened.convert("RGB")
        best = "unfinished" if job.best is None else f"best accuracy {job.best:.4f}"
        lines = [f"job {job.name}: {best}", *(f"{key}={job.options[key]}" for key in options if key in job.options)]
        tiles.append(add_caption(picture, lines))
    if tiles:
        save_png(path, grid([tiles[start : start + columns] for start in range(0, len(tiles), columns)]))
    return bool(tiles)


def _read(folder: Path, name: str) -> Job:
    failure = folder / FAILURE
    reason = failure.read_text(encoding="utf-8").strip() if failure.is_file() else ""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        options = {key: value for key, value in summary["options"].items() if str(folder.absolute()) not in str(value)}
        best, final, pruned = summary["best"]["val/accuracy"], summary["final"], bool(summary["pruned"])
        return Job(folder, name, options, best, final, reason, pruned)
    except (OSError, ValueError, KeyError, TypeError):
        return Job(folder, name, _requested_options(folder), failure=reason)


def _requested_options(folder: Path) -> dict[str, Any]:
    """The options of a run that is not finished, those apart that its folder's name is part of."""
    from omegaconf import OmegaConf

    from camexp.config import flat

    try:
        asked = OmegaConf.to_container(OmegaConf.load(folder / HYDRA / "config.yaml"))
    except Exception:  # not written yet, or cut short
        return {}
    return {key: value for key, value in flat(asked).items() if "${" not in str(value)}  # type: ignore[arg-type]


def _comparable(value: Any) -> Any:
    """20 and 20.0 are one value: a run that is not finished has its options as they were written."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def _natural_key(name: str) -> tuple[int, str]:
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)
