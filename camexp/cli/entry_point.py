"""What each script does around its recipe."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from camexp.cli.arguments import quote_paths, sweep_arguments
from camexp.cli.errors import FilteredStderr, error_message, fail
from camexp.errors import Interrupted
from camexp.launching.processes import end_with_parent
from camexp.launching.sweep import SCRIPT, register_plugins

log = logging.getLogger(__name__)


def run(main: Callable[[], Any]) -> None:
    """Call a Hydra entry point as a user would have it: an error is one sentence and exit code 1.

    ``debug=true`` on the command line shows the traceback instead.
    """
    end_with_parent()
    sys.argv[1:] = quote_paths(sys.argv[1:])
    debug = any(re.fullmatch(r"\+*debug=(true|yes|on|1)", argument, re.IGNORECASE) for argument in sys.argv)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand exceptions over instead of printing them
    try:
        sys.argv[1:] = sweep_arguments(sys.argv[1:])
        os.environ.setdefault(SCRIPT, str(Path(sys.argv[0]).resolve()))
        register_plugins()
        OmegaConf.register_new_resolver("camexp.options", _help_table, replace=True)
        with contextlib.redirect_stderr(FilteredStderr(sys.stderr)):  # type: ignore[type-var]
            main()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except Interrupted as stop:
        log.info(error_message(stop))
        sys.exit(128 + stop.signum)
    except Exception as error:
        if debug:
            raise
        fail(error_message(error), error)


def _help_table(script: str) -> str:
    """The options of a script for its ``--help``, in which ``${camexp.options:train}`` stands for them."""
    from camexp.config import EvaluateOptions, ExportOptions, Options, PredictOptions, TrainOptions
    from camexp.config.describe import help_table

    options: dict[str, type[Options]] = {
        "train": TrainOptions, "predict": PredictOptions, "evaluate": EvaluateOptions, "export": ExportOptions,
    }  # fmt: skip
    return help_table(options[script]).replace("$", "$$")  # in Hydra's template a dollar begins a name
