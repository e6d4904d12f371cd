"""One run on several devices: a process for each, all of them watched by one that does not train."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camexp.errors import UserError
from camexp.launching.overrides import ONE_RUN, quoted
from camexp.launching.processes import rank_environments, run_processes, same_command
from camexp.launching.ranks import nodes, started_world_size
from camexp.run_files import SUMMARY


def processes_to_start(devices: Mapping[str, Any], num_nodes: int = 1) -> int:
    """How many processes this one has to start for a run on these devices; 0: none, it trains itself.

    Args:
        devices: of this machine, see :func:`camexp.devices.select_devices`.
        num_nodes: machines, all of which have as many.

    Raises:
        UserError: others have started more processes, or fewer: the run would wait for them without end.

    >>> processes_to_start({"devices": [0, 2]}), processes_to_start({"devices": 1})
    (2, 0)
    """
    count = devices["devices"]
    count = int(count if isinstance(count, int) else len(count))
    started, machines = started_world_size(), nodes()[0]
    if started > 1:
        if started != num_nodes * count:
            raise UserError(
                f"trainer.num_nodes={num_nodes} with {count} device(s) on each (trainer.gpus, trainer.cpu_processes) "
                f"needs {num_nodes * count} processes, but torchrun or srun has started {started}: give both the same"
            )
        return 0
    if machines != num_nodes:
        raise UserError(
            f"trainer.num_nodes={num_nodes}, but NNODES={machines}: expected as many machines as camexp is started on; "
            "start it by torchrun or srun, or with the same NNODES, and NODE_RANK=0, 1 …, on each of them"
        )
    return count if count * machines > 1 else 0


def launch_ddp(run_dir: str, count: int) -> float:
    """Train in that many processes; returns the best validation accuracy.

    Raises:
        UserError: one of them failed, and all have ended.
        SystemExit: they were interrupted.
    """
    folder = Path(run_dir).absolute()
    own = (ONE_RUN, "hydra.output_subdir=null", f"hydra.run.dir={quoted(folder)}")
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")  # one of them keeps the log
    commands = [same_command(*own, *(quiet if rank else ()), without=r"hydra\.run\.dir=") for rank in range(count)]
    with rank_environments(count) as environments:
        ended = run_processes(commands, environments)
    if ended.code > 128:
        raise SystemExit(ended.code)
    if ended.code:
        raise UserError(ended.reason)
    return best_accuracy(folder)


def best_accuracy(folder: Path) -> float:
    """Of the finished run in a folder; NaN where there is none, as after ``command=classes``."""
    if not (folder / SUMMARY).is_file():
        return float("nan")
    return float(json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["best"]["val/accuracy"])
