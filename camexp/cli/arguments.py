"""Arguments of the command line as Hydra takes them: paths as the shell passes them, and the resuming of a sweep."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from camexp.errors import UserError
from camexp.launching.overrides import quoted
from camexp.reporting.comparison import job_folders

# Options whose value is a path or a class name, in which any letter may stand, and whose name does not tell it.
VERBATIM = frozenset(
    "ckpt input output label boxes masks heatmaps threshold.from dataset.root dataset.classes dataset.url "  # noqa: SIM905
    "dataset.urls dataset.val_urls dataset.test_urls dataset.names "
    "inspect.image inspect.label "
    "model.weights features.cache calibration images evaluation hydra.run.dir hydra.sweep.dir".split()
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


def sweep_arguments(arguments: Sequence[str]) -> list[str]:
    """``sweep.resume=DIR`` as overrides that Hydra knows.

    Raises:
        UserError: no such folder, or no sweep.

    >>> sweep_arguments(["-m", "seed=1,2"])
    ['-m', 'seed=1,2']
    """
    result: list[str] = []
    for argument in arguments:
        match = re.fullmatch(r"sweep\.resume=(['\"]?)(.*)\1", argument, re.DOTALL)
        if not match:
            result.append(argument)
            continue
        if not any(one in ("-m", "--multirun") for one in arguments):
            raise UserError(f"sweep.resume={match[2]} needs -m and the same options as the sweep before")
        folder = Path(match[2]).expanduser()
        if not job_folders(folder):
            kind = "holds no jobs" if folder.is_dir() else "is not a folder"
            raise UserError(f"sweep.resume={match[2]} {kind}: give the folder of a sweep, outputs/sweeps/DATE/TIME")
        result += [f"hydra.sweep.dir={quoted(folder)}", "resume=auto"]
    return result
