"""Errors as one sentence and exit code 1."""

from __future__ import annotations

import errno
import logging
import re
import sys
from typing import Any, NoReturn, TextIO

from camexp.cli.replaced import group_without_choice, section_replaced
from camexp.config.own import PACKAGED, blame, own_folder
from camexp.errors import Interrupted, UserError, nearest
from camexp.launching import program
from camexp.reporting.console import ConsoleHandler

log = logging.getLogger(__name__)

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in the user's share of it, or in one file


class FilteredStderr:
    """Stderr, less the line in which Hydra repeats the command before an error of ours."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return len(text) if text.startswith("Error executing job with overrides") else self._stream.write(text)


def fail(message: str, error: BaseException) -> NoReturn:
    if any(isinstance(handler, ConsoleHandler) for handler in logging.getLogger().handlers):
        log.error(f"error: {message}")
        log.debug("where it happened:", exc_info=error)  # for the log file
    else:  # the configuration could not be composed, so nothing was set up yet
        print(f"error: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def error_message(error: BaseException) -> str:
    """What went wrong, on one line.

    >>> error_message(UserError("seed=x is not a number: expected a whole number"))
    'seed=x is not a number: expected a whole number'
    """
    text = str(error)
    if "Original Traceback" in text:  # a data loader's process wraps its error in its traceback
        text = text.rstrip().splitlines()[-1].split(": ", 1)[-1]
    text = " ".join(text.split())
    if isinstance(error, (UserError, Interrupted)):
        return text
    if isinstance(error, OSError) and error.errno in FULL:
        file = error.filename or "a file"
        return f"{file} could not be written ({error.strerror}): make room on its disk; what was written before is kept"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read or written ({error.strerror}): give another path, or mend this one"
    module = type(error).__module__.partition(".")[0]
    if module in ("hydra", "omegaconf"):
        cause = error.__cause__
        if isinstance(cause, UserError):
            return error_message(cause)
        if match := re.search(r"Could not override '([^']+)'", text):
            known = known_options()
            if match[1] in known:  # what it stands in was given as a whole, as model.head=gap
                above = match[1].rpartition(".")[0]
                return f"{match[1]} cannot be set beside {above}=…, which replaces all of {above}: leave one out"
            return f"{match[1]} is not an option: {nearest(match[1], known)}{blame()}"
        if match := re.match(r"Error merging override (\S+)", text):
            return section_replaced(match[1], known_options())
        if match := re.search(
            r"Could not find '(.+)/([^/']*)' Available options in '.*': (.*) Config search path", text
        ):
            extra = match[2].split("_")[0]
            if match[1] == "hydra/launcher" and extra in ("joblib", "submitit", "ray"):
                return f"the launcher {match[2]} is not installed: pip install 'camexp[{extra}]'"
            return f"{match[1]}={match[2]} is not a choice: {nearest(match[2], match[3].split())}{blame()}"
        if match := re.search(r"^(?:In '(.+)': )?Could not find '(.+?)' Config search path", text):
            return f"{match[1] or 'a configuration'} asks for {match[2]}.yaml, which is in no conf/ folder{blame()}"
        if type(error).__name__ == "OverrideParseException":
            given = getattr(error, "override", "an option")
            return (
                f"{given} cannot be read as OPTION=VALUE ({text.split(' See ')[0]}): quote the value, as OPTION=\"'…'\""
            )
        return text + blame()
    if text.startswith("Config group override must be") and (sentence := group_without_choice(sys.argv[1:])):
        return sentence  # Hydra names no group
    return f"{type(error).__name__}: {text or 'no reason given'} (debug=true shows where)"


def known_options() -> list[str]:
    """The keys of the configuration that the running script composes from the groups chosen, and no other overrides."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    folders = [folder for folder in (own_folder(), PACKAGED) if folder is not None]
    given = [one.partition("=") for one in sys.argv[1:] if "=" in one]
    groups = [one for one in given if any((folder / one[0].lstrip("+")).is_dir() for folder in folders)]
    chosen = ["".join(one) for one in groups if "," not in one[2] or "[" in one[2]]  # not those of a sweep
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module("camexp.conf", version_base="1.3"):
            config = compose(program.current().command, chosen)
    except Exception:  # no help can be given; the sentence stands without it
        return []

    def keys(node: DictConfig, prefix: str) -> list[str]:
        names = []
        for key in map(str, node):
            names.append(prefix + key)
            child = node._get_node(key)  # as it stands: an interpolation need not resolve here
            if isinstance(child, DictConfig) and not child._is_none():
                names += keys(child, f"{prefix}{key}.")
        return names

    return keys(config, "")
