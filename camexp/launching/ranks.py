"""The rank of this process, whether camexp itself, torchrun or SLURM started it."""

from __future__ import annotations

import os
from pathlib import Path

from camexp.errors import UserError

CHILD = "CAMEXP_CHILD"  # in the environment of processes that camexp starts itself: "job" or "rank"


def rank() -> int:
    """The number of this process among all that train together; 0 for one that trains alone.

    >>> rank()
    0
    """
    return int(os.environ["SLURM_PROCID"]) if _by_slurm() else int(os.environ.get("RANK", "0"))


def started_world_size() -> int:
    """How many processes someone has already started for this run.

    >>> started_world_size()
    1
    """
    return int(os.environ["SLURM_NTASKS"]) if _by_slurm() else int(os.environ.get("WORLD_SIZE", "1"))


def is_follower() -> bool:
    """Whether another process settles what is settled once: the run folder and what is printed."""
    return rank() > 0 or os.environ.get(CHILD) == "rank"


def nodes() -> tuple[int, int]:
    """On how many machines camexp is started by hand for one run, and the number of this one."""
    return int(os.environ.get("NNODES", "1")), int(os.environ.get("NODE_RANK", "0"))


def shared_run_folder(default: Path, resumes: bool = False) -> Path | None:
    """The folder of a run that was given none, where its processes, or those of a job that is queued again, must agree
    on one; ``None`` if it is for this process alone to choose.

    Under SLURM it is named after the job; under torchrun the first process tells the others.

    Args:
        default: the one that this process would choose.
        resumes: whether the run is to resume.

    Raises:
        UserError: there is no way to agree.
    """
    if CHILD in os.environ:
        return None
    if _by_slurm() or (resumes and _may_be_requeued()):
        return default.parent.parent / f"slurm-{_slurm_name()}"
    if started_world_size() == 1:
        return None
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        raise UserError(
            f"WORLD_SIZE={started_world_size()}: several processes need one folder: give hydra.run.dir=… to all of them"
        )
    from torch.distributed import TCPStore

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), started_world_size(), is_master=False)
    key = "camexp/run_folder/" + os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if rank() == 0:
        store.set(key, str(default))
    return Path(store.get(key).decode())


def _by_slurm() -> bool:
    return int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ


def _may_be_requeued() -> bool:
    """Whether this is a task of a batch job; in a shell (Lightning knows it by these names too) each run is another."""
    interactive = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_JOB_ID" in os.environ and "SLURM_PROCID" in os.environ and not interactive


def _slurm_name() -> str:
    """The job as SLURM spells it, the same when it is queued again: ``77``, ``77_3`` of an array, ``77.1`` the second
    ``srun`` of its script."""
    array = [os.environ.get(name) for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")]
    job = "_".join(map(str, array)) if all(array) else os.environ["SLURM_JOB_ID"]
    step = int(os.environ.get("SLURM_STEP_ID", "0"))
    return f"{job}.{step}" if 0 < step < 2**31 else job  # the script itself is a step too, with a huge number
