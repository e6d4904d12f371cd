"""``camexp compare outputs/sweeps/DATE/TIME``: runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from camexp.errors import UserError
from camexp.files import display_path
from camexp.reporting.comparison import find_jobs, write_comparison


def main(arguments: Sequence[str]) -> int:
    """The command line: one folder."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print("usage: camexp compare DIR      DIR: of a sweep, or of runs")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 1
    folder = Path(arguments[0]).expanduser()
    try:
        jobs = find_jobs(folder) if folder.is_dir() else []
        if not jobs:
            raise UserError(f"{folder} holds no runs: give the folder of a sweep, as outputs/sweeps/DATE/TIME")
        print(write_comparison(folder, jobs))
        from camexp.viewer.sweep_page import write_sweep_page  # takes seconds to import: the table need not wait

        print(f"look at: {display_path(write_sweep_page(folder, jobs))}   (in a browser)")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
