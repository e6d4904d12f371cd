"""From one process to many: run folders that belong to one run, processes that are watched, sweeps.

Light on purpose: nothing here imports torch before it must, so that a sweep's own process starts at once.
"""

from camexp.launching.ddp import launch_ddp, processes_to_start
from camexp.launching.shards import launch_shards
from camexp.launching.sweep import in_multirun, run_job, run_shard

__all__ = ["in_multirun", "launch_ddp", "launch_shards", "processes_to_start", "run_job", "run_shard"]
