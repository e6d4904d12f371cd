"""What each command does around its recipe."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from omegaconf import OmegaConf

from camexp.cli.arguments import quote_paths, sweep_arguments
from camexp.cli.errors import FilteredStderr, error_message, fail
from camexp.cli.own_configs import register_sources
from camexp.cli.presets import preset_arguments
from camexp.errors import Interrupted
from camexp.launching import program
from camexp.launching.processes import end_with_parent
from camexp.launching.shards import shard_arguments
from camexp.launching.sweep import register_plugins

log = logging.getLogger(__name__)


def run(main: Callable[[], Any], command: str, arguments: Sequence[str] | None = None) -> None:
    """Call a Hydra entry point as a user would have it: an error is one sentence and exit code 1.

    ``debug=true`` on the command line shows the traceback instead. What stands in the working folder is found: its
    ``conf/`` before the package's, its modules after all that are installed.

    Args:
        main: what ``hydra.main`` made.
        command: its name, which is that of its configuration too.
        arguments: default: those of the command line.
    """
    end_with_parent()
    program.enter(command)
    if arguments is not None:
        sys.argv[1:] = arguments
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)  # last: a file of a user's that is called as a library must not replace it
    sys.argv[1:] = quote_paths(sys.argv[1:])
    debug = any(re.fullmatch(r"\+*debug=(true|yes|on|1)", argument, re.IGNORECASE) for argument in sys.argv)
    logging.raiseExceptions = debug  # a log file on a full disk is no reason for tracebacks: what matters is told
    os.environ["HYDRA_FULL_ERROR"] = "1"  # hand exceptions over instead of printing them
    try:
        sys.argv[1:] = shard_arguments(sweep_arguments(preset_arguments(command, sys.argv[1:])))
        register_plugins()
        register_sources()
        OmegaConf.register_new_resolver("camexp.options", _help_table, replace=True)
        OmegaConf.register_new_resolver("camexp.command", lambda name: program.current().short(name), replace=True)
        with contextlib.redirect_stderr(FilteredStderr(sys.stderr)):  # type: ignore[type-var]
            main()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `camexp train --help | head`: whoever read has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Interrupted as stop:
        log.info(error_message(stop))
        sys.exit(128 + stop.signum)
    except Exception as error:
        if debug:
            raise
        fail(error_message(error), error)


def _help_table(script: str) -> str:
    """The options of a script for its ``--help``, in which ``${camexp.options:train}`` stands for them."""
    from camexp.config import COMMAND_OPTIONS
    from camexp.config.describe import help_table

    return help_table(COMMAND_OPTIONS[script]).replace("$", "$$")  # in Hydra's template a dollar begins a name
