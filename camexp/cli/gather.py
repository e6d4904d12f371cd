"""``camexp gather DIR``: the shards of a prediction or an evaluation joined, and what of them is missing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from camexp.errors import UserError

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """The command line: one folder."""
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print("usage: camexp gather DIR      DIR: the output folder of a command with shards=…")
        return 0 if arguments and arguments[0] in ("-h", "--help") else 1
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        gather_and_tell(Path(arguments[0]).expanduser())
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def gather_and_tell(folder: Path) -> None:
    """Join what there is, and say where it is.

    Raises:
        UserError: no shards, or some are missing; those of a prediction are joined all the same.
    """
    from camexp.prediction.manifest import Manifest

    if Manifest.of_shards(folder).command == "predict":
        from camexp.prediction import gather
    else:
        from camexp.evaluation import gather
    gather(folder)
