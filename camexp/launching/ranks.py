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


def shared_run_folder(default: Path) -> Path | None:
    """The folder of a run whose processes someone else started and gave none; ``None`` if it is for this process alone
    to choose.

    Under SLURM it is named after the job, so that a requeued job finds it again; under torchrun the first process
    tells the others.

    Raises:
        UserError: there is no way to agree.
    """
    if started_world_size() == 1 or CHILD in os.environ:
        return None
    if _by_slurm():
        return default.parent.parent / f"slurm-{os.environ['SLURM_JOB_ID']}"
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
