"""The command line: paths as the shell passes them, errors as one sentence."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from camexp.errors import Interrupted, UserError, nearest
from camexp.launching.arguments import quoted
from camexp.launching.processes import end_with_parent
from camexp.launching.sweep import SCRIPT, register_plugins, sweep_arguments
from camexp.reporting.console import ConsoleHandler, log

# Options whose value is a path or a class name, in which any letter may stand, and whose name does not tell it.
VERBATIM = frozenset(
    "ckpt input output label boxes masks heatmaps threshold.from dataset.root dataset.classes dataset.url "  # noqa: SIM905
    "inspect.image inspect.label "
    "model.weights features.cache hydra.run.dir hydra.sweep.dir".split()
)
# The others whose value is a path, those of parts that the user brings too: a logger's save_dir, a callback's dirpath.
_NAMES_PATH = re.compile(
    r"(.*[._])?(root|dir|subdir|dirpath|folder|path|searchpath|file|filename|uri|url|location)", re.IGNORECASE
)
_OVERRIDE = re.compile(r"(\+{0,2}[\w./]+)=(.*)", re.DOTALL)


def quote_paths(arguments: Sequence[str]) -> list[str]:
    """Arguments whose paths and class names Hydra's grammar takes as they are.

    Hydra reads ``=``, commas, spaces, brackets and quotes in a value as its own. Values that name an
    existing file, the elements of lists (``[a,b]``), and all others but ``null`` and what is quoted already,
    are quoted here. In a multirun a comma goes on separating the values of a sweep. An option counts as a path that is
    listed above, or whose name says so; the latter may name other options, as ``${run_dir}/tensorboard``.

    ``cam=gradcam,layercam`` asks for both of them.

    >>> quote_paths(["ckpt=lr=0.1,b/best (1).ckpt", "label=[duck,llama]", "seed=1"])
    ["ckpt='lr=0.1,b/best (1).ckpt'", "label=['duck','llama']", 'seed=1']
    >>> quote_paths(["cam=cam,gradcam"])
    ['cam=cam', 'cams=[cam,gradcam]']
    """
    multirun = any(argument in ("-m", "--multirun") for argument in arguments)
    quoted = []
    for argument in arguments:
        match = _OVERRIDE.fullmatch(argument)
        if match and match[1] == "cam" and "," in match[2] and not multirun:  # methods side by side, no sweep
            quoted += [f"cam={match[2].split(',')[0]}", f"cams=[{match[2]}]"]
            continue
        counted = match and match[1].endswith("dataset.classes") and match[2].isdecimal()
        listed = match and match[1].lstrip("+") in VERBATIM
        if match and (listed or _names_path(match[1], match[2])) and not counted:
            argument = f"{match[1]}={_quote_value(match[2], multirun, interpolates=not listed)}"
        quoted.append(argument)
    return quoted


def _names_path(key: str, value: str) -> bool:
    # what logging calls file is a handler, with options of its own
    mapping = value.startswith("{") and value.endswith("}") and not key.endswith("name")
    return _NAMES_PATH.fullmatch(key.lstrip("+")) is not None and not mapping


def _quote_value(value: str, multirun: bool = False, interpolates: bool = False) -> str:
    if _exists(value):
        return quoted(value.replace("${", "\\${"))
    if multirun and re.fullmatch(r"\w+\(.*\)", value):
        return value
    if multirun and len(parts := _split(value)) > 1:
        return ",".join(_quote_value(part.strip(), interpolates=interpolates) for part in parts)
    if value in ("null", "???") or re.fullmatch(r"""'.*'|".*\"""", value, re.DOTALL):
        return value
    if _is_list(value):
        return _quote_list(value)
    if interpolates:
        return quoted(value)
    # a name may hold ${; only what names a resolver, as ${now:…}, is an interpolation
    return quoted(re.sub(r"\$\{(?![\w.]+:)", r"\\${", value))


def _quote_list(value: str) -> str:
    """A list stays one; its elements, lists again or texts, are quoted."""
    elements = [part.strip() for part in _split(value[1:-1])]
    return (
        "["
        + ",".join(_quote_list(one) if _is_list(one) else one if _quoted(one) else quoted(one) for one in elements)
        + "]"
    )


def _split(text: str) -> list[str]:
    """At the commas that stand in no quotes and no brackets."""
    parts, depth, quote, escaped = [""], 0, "", False
    for letter in text:
        if escaped:
            parts[-1], escaped = parts[-1] + letter, False
            continue
        escaped = letter == "\\" and bool(quote)
        if not quote and letter == "," and not depth:
            parts.append("")
            continue
        if letter in "'\"" and letter == (quote or letter) and (quote or not parts[-1].strip()):
            quote = "" if quote else letter
        elif not quote:
            depth += (letter == "[") - (letter == "]")
        parts[-1] += letter
    return parts if text.strip() else []


def _is_list(value: str) -> bool:
    return value.startswith("[") and value.endswith("]")


def _exists(value: str) -> bool:
    try:
        return bool(value) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False


def _quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


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
        with contextlib.redirect_stderr(_WithoutHydrasLine(sys.stderr)):  # type: ignore[type-var]
            main()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
    except Interrupted as stop:
        log.info(sentence(stop))
        sys.exit(128 + stop.signum)
    except Exception as error:
        if debug:
            raise
        fail(sentence(error), error)


class _WithoutHydrasLine:
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


def sentence(error: BaseException) -> str:
    """What went wrong, on one line.

    >>> sentence(UserError("seed=x is not a number: expected a whole number"))
    'seed=x is not a number: expected a whole number'
    """
    text = str(error)
    if "Original Traceback" in text:  # a data loader's process wraps its error in its traceback
        text = text.rstrip().splitlines()[-1].split(": ", 1)[-1]
    text = " ".join(text.split())
    if isinstance(error, (UserError, Interrupted)):
        return text
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read or written ({error.strerror}): give another path, or mend this one"
    module = type(error).__module__.partition(".")[0]
    if module in ("hydra", "omegaconf"):
        cause = error.__cause__
        if isinstance(cause, UserError):
            return sentence(cause)
        if match := re.search(r"Could not override '([^']+)'", text):
            return f"{match[1]} is not an option: {nearest(match[1], known_options())}"
        if match := re.search(
            r"Could not find '(.+)/([^/']*)' Available options in '.*': (.*) Config search path", text
        ):
            extra = match[2].split("_")[0]
            if match[1] == "hydra/launcher" and extra in ("joblib", "submitit", "ray"):
                return f"the launcher {match[2]} is not installed: pip install 'camexp[{extra}]'"
            return f"{match[1]}={match[2]} is not a choice: {nearest(match[2], match[3].split())}"
        if type(error).__name__ == "OverrideParseException":
            given = getattr(error, "override", "an option")
            return (
                f"{given} cannot be read as OPTION=VALUE ({text.split(' See ')[0]}): quote the value, as OPTION=\"'…'\""
            )
        return text
    return f"{type(error).__name__}: {text or 'no reason given'} (debug=true shows where)"


def known_options() -> list[str]:
    """The keys of the configuration that the running script composes without overrides."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    script = Path(sys.argv[0]).resolve()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(script.parent / "conf"), version_base="1.3"):
            config = compose(script.stem)
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
