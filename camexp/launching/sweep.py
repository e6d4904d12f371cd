"""Sweeps: a process for each job, so that nothing of one reaches another, and a folder that tells what is done."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from camexp.devices import available_cores
from camexp.errors import Interrupted, UserError
from camexp.files import atomic_write, display_path, write_json
from camexp.launching import program
from camexp.launching.ddp import best_accuracy
from camexp.launching.gpus import reserve_gpu
from camexp.launching.overrides import ONE_RUN, quoted
from camexp.launching.processes import ProcessResult, run_processes
from camexp.launching.ranks import CHILD
from camexp.launching.workers import is_stopping, stopped
from camexp.reporting.comparison import find_jobs, write_comparison
from camexp.run_files import BEGUN, DONE, FAILURE, SUMMARY

log = logging.getLogger(__name__)


def register_plugins() -> None:
    """Make our sweeper known to Hydra, which takes none but from a package called ``hydra_plugins``."""
    if not any(one in ("-m", "--multirun") for one in sys.argv):
        return
    from hydra.core.plugins import Plugins

    from camexp.launching import optuna_sweeper

    optuna_sweeper.OptunaSweeper.__module__ = "hydra_plugins.camexp"
    Plugins.instance().register(optuna_sweeper.OptunaSweeper)
    try:
        import hydra_plugins
    except ImportError:  # no other plugin is installed
        hydra_plugins = sys.modules.setdefault("hydra_plugins", ModuleType("hydra_plugins"))
    hydra_plugins.camexp = sys.modules["hydra_plugins.camexp"] = optuna_sweeper


def in_multirun() -> bool:
    """Whether Hydra calls for one job of a sweep."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return HydraConfig.get().mode == RunMode.MULTIRUN


def run_job() -> float:
    """Run one job as a process of its own, from where it stands if it was begun before.

    So a job that fails, is killed, or trains on several devices leaves the sweep, and the jobs after it, as they were.

    Returns:
        Its best validation accuracy; NaN if it failed, which the report at the end tells.

    Raises:
        UserError: its folder does not lie in the sweep's.
        SystemExit: it was stopped by a signal, and so is the sweep.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    folder, sweep = Path(hydra.runtime.output_dir), Path(hydra.runtime.cwd, hydra.sweep.dir)
    if sweep.resolve() not in folder.resolve().parents:
        raise UserError(
            f"hydra.sweep.subdir={hydra.sweep.subdir} of job {hydra.job.num} leads out of "
            f"hydra.sweep.dir={hydra.sweep.dir}: expected a folder in it, as lr_${{optimizer.lr}}"
        )
    (folder / FAILURE).unlink(missing_ok=True)
    overrides = [one for one in hydra.overrides.task if not one.startswith("resume=")]
    command = [*program.current().start(), *_config_flags(hydra), *overrides]
    side_by_side = "BasicLauncher" not in hydra.launcher._target_
    if _done(folder, overrides):
        log.info(f"job {hydra.job.num} is finished already")
        return best_accuracy(folder)
    write_json(folder / BEGUN, {"overrides": overrides})
    if is_stopping(sweep):  # its worker is given the next job all the same
        raise SystemExit(128 + signal.SIGTERM)
    if side_by_side:
        log.info(f"job {hydra.job.num}: {' '.join(overrides)}")
    try:
        with _job_resources(hydra) as environment:
            ended = run_processes(
                [[*command, "resume=auto", ONE_RUN, f"hydra.run.dir={quoted(folder)}"]],
                [{CHILD: "job", **environment}],
                silent=side_by_side,
                must_stop=lambda: is_stopping(sweep),
            )
    except Interrupted as stop:  # before it had a GPU
        ended = ProcessResult(128 + stop.signum, str(stop), stop.signum)
    if ended.code == 0:
        write_json(folder / DONE, {"overrides": overrides})
    elif ended.code < 128:
        with atomic_write(folder / FAILURE) as temporary:
            temporary.write_text(ended.reason + "\n", encoding="utf-8")
        log.error(f"job {hydra.job.num} failed: {ended.reason}")
    if ended.signum:  # however the job ended: the sweep was interrupted
        if not is_stopping(sweep):  # which says it once for all jobs
            log.info(stopped(ended.signum, sweep))
        raise SystemExit(128 + ended.signum)
    return float("nan") if ended.code else best_accuracy(folder)


def run_shard() -> None:
    """Run one shard of a prediction or an evaluation as a process of its own, from where it stands.

    What went wrong is said at once, and by what gathers the shards at the end.

    Raises:
        SystemExit: it was stopped by a signal, and so are the others.
    """
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    overrides = [one for one in hydra.overrides.task if not one.startswith(("resume=", "output="))]
    command = [*program.current().start(), *_config_flags(hydra), *overrides, "resume=auto", ONE_RUN,
               f"output={quoted(Path(hydra.sweep.dir).absolute())}"]  # fmt: skip
    side_by_side = "BasicLauncher" not in hydra.launcher._target_
    try:
        with _job_resources(hydra) as environment:
            ended = run_processes([command], [{CHILD: "shard", **environment}], silent=side_by_side)
    except Interrupted as stop:  # before it had a GPU
        ended = ProcessResult(128 + stop.signum, str(stop), stop.signum)
    if ended.signum:
        raise SystemExit(128 + ended.signum)
    log.log(*((logging.ERROR, f"shard {hydra.job.num} failed: {ended.reason}") if ended.code else
              (logging.INFO, f"shard {hydra.job.num} is done")))  # fmt: skip


def report(folder: Path) -> None:
    """The end of a sweep: its jobs side by side, and which of them failed.

    Raises:
        UserError: any of them failed, or there are none.
    """
    jobs = find_jobs(folder)
    if not jobs:
        raise UserError(
            f"hydra.sweep.dir={folder} holds no jobs at the sweep's end: expected one at least; "
            "give options values to sweep over, as optimizer.lr=1e-3,1e-2"
        )
    log.info("\n" + write_comparison(folder, jobs))
    from camexp.viewer.sweep_page import write_sweep_page  # takes seconds to import: a sweep's start need not wait

    log.info(f"look at: {display_path(write_sweep_page(folder, jobs))}   (in a browser)")
    failed = [f"{job.name} ({job.failure})" for job in jobs if job.failure]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(jobs)} jobs failed: {'; '.join(failed)}. "
            f"The same command with sweep.resume={display_path(folder)} runs them again, and nothing that is done"
        )


def _config_flags(hydra: Any) -> list[str]:
    """Where the sweep's own command found its configuration."""
    flags = [] if hydra.job.config_name in (None, "train") else ["--config-name", str(hydra.job.config_name)]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            flags += ["--config-dir", str(source.path)]
    return flags + [one for one in hydra.overrides.hydra if one.lstrip("+").startswith("hydra.searchpath=")]


def _done(folder: Path, overrides: Sequence[str]) -> bool:
    """Whether this very job came to its end before: another one, in a folder of the same name, asks again."""
    try:
        before = json.loads((folder / DONE).read_text(encoding="utf-8"))["overrides"]
        return before == list(overrides) and (folder / SUMMARY).is_file()
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def _job_resources(hydra: Any) -> Iterator[dict[str, str]]:
    """Of jobs side by side on one machine each has its part of the cores, and one of the GPUs: with ``launch=gpus`` to
    itself, so that jobs wait where more are to run at once than there are GPUs; else they spread over them."""
    if "joblib" not in hydra.launcher._target_.lower():
        yield {}
        return
    # counted without torch, which takes seconds to import
    all_gpus = ",".join(str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*")))
    gpus = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", all_gpus).split(",") if one]
    alone = hydra.runtime.choices.get("launch") == "gpus"
    cores = available_cores()
    count = hydra.launcher.n_jobs if hydra.launcher.n_jobs > 0 else cores
    count = min(count, len(gpus)) if alone and gpus else count
    share = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, cores // count))}
    first = hydra.job.num % max(1, len(gpus))  # where no locks are known, jobs spread over the GPUs all the same
    with reserve_gpu(gpus[first:] + gpus[:first], alone, f"job {hydra.job.num}") as gpu:
        yield share if gpu is None else {**share, "CUDA_VISIBLE_DEVICES": gpu}
