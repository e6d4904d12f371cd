"""From one process to many: run folders that belong to one run, processes that are watched, sweeps.

Light on purpose: nothing here imports torch before it must, so that a sweep's own process starts at once.
"""

from camexp.launching.ddp import processes_to_start, train_together
from camexp.launching.sweep import in_sweep, run_job

__all__ = ["in_sweep", "processes_to_start", "run_job", "train_together"]
