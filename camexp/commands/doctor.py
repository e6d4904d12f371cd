"""``camexp doctor``: what is installed here, which devices there are, and what ``auto`` would choose on them."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path

from camexp import __version__, plugins
from camexp.errors import reason
from camexp.extras import extra_names, lacking, requirements

Row = tuple[str, str]
LIBRARIES = ("torch", "torchvision", "pytorch-lightning", "hydra-core")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report; returns 0 whatever it finds, 1 for arguments, of which there are none."""
    if arguments:
        asked = arguments[0] in ("-h", "--help")
        print("usage: camexp doctor      describes this installation and this machine; it takes no arguments")
        return 0 if asked else 1
    print(report(SECTIONS.items()))
    return 0


def report(sections: Iterable[tuple[str, Callable[[], Iterable[Row]]]]) -> str:
    """Titles with their rows below. What cannot be asked is a row that says so: this is read where things are broken.

    >>> def broken() -> Iterator[Row]:
    ...     yield "disk", "full"
    ...     raise OSError("no device")
    >>> print(report([("here", broken)]))
    here
      disk                full
      ?                   could not be asked (OSError: no device)
    """
    lines = []
    for title, rows in sections:
        lines.append(title)
        try:
            for name, text in rows():
                lines.append(f"  {name:<18}  {text}")
        except Exception as error:  # any library may be broken in any way
            lines.append(f"  {'?':<18}  could not be asked ({type(error).__name__}: {reason(error)})")
    return "\n".join(lines)


def versions() -> Iterator[Row]:
    """Of camexp and what it stands on."""
    yield "camexp", f"{__version__}   {Path(__file__).parents[1]}"
    yield "Python", f"{platform.python_version()}   {sys.executable}"
    for name in LIBRARIES:
        try:
            yield name, version(name)
        except Exception:
            yield name, "not installed"
    for one in requirements():
        if one.name not in LIBRARIES and (problem := lacking(one)):
            yield one.name, problem


def devices() -> Iterator[Row]:
    """The processor and the GPUs, and whether they multiply bfloat16 themselves."""
    from camexp.devices import available_cores

    cores = f"{available_cores()} of {os.cpu_count()} cores"
    yield "CPU", f"{processor_name()}, {cores}"
    import torch

    from camexp.precision import has_native_bf16

    yield "", _bfloat16(has_native_bf16("cpu"))
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        yield (
            f"GPU {number}",
            f"{about.name}, {about.total_memory / 2**30:.0f} GiB, {_bfloat16(has_native_bf16('cuda'))}",
        )
    if torch.backends.mps.is_available():
        yield "GPU", f"Apple's (mps), {_bfloat16(has_native_bf16('mps'))}"
    elif not torch.cuda.device_count():
        yield "GPU", f"none that torch {torch.__version__} can use"


def choices() -> Iterator[Row]:
    """What ``auto`` and ``null`` mean here, and why."""
    from camexp.devices import default_workers, device_type, select_devices
    from camexp.precision import has_native_bf16, resolve_precision

    chosen = select_devices(None)
    device = device_type(chosen)
    yield (
        "gpus=null",
        f"{chosen['accelerator']}, {chosen['devices']} process{'es' * (chosen['devices'] != 1)} in training",
    )
    native = f"{device} {'computes' if has_native_bf16(device) else 'does not compute'} in bfloat16 itself"
    yield "precision=auto", f"{resolve_precision('auto', device)} to predict, evaluate, and train on a frozen trunk"
    yield "", f"({native})"
    training, why = resolve_precision("auto", device, trains=True), native
    if training != resolve_precision("auto", device):
        why = "bfloat16 would be faster, but costs accuracy there on a CPU"
    yield "", f"{training} to train a trunk ({why})"
    yield "num_workers=null", f"{default_workers()} a process"


def folders() -> Iterator[Row]:
    """Where results go, and whose configurations are found first."""
    from camexp.config.own import own_folder, replaced_files

    there = Path("outputs") if Path("outputs").exists() else Path(".")
    yield "free disk", f"{shutil.disk_usage(there).free / 1e9:.1f} GB for {Path('outputs').absolute()}"
    if not os.access(there, os.W_OK):
        yield "", "which cannot be written to"
    own = own_folder()
    yield "own configs", "none: no conf/ in this folder but camexp's own" if own is None else f"{own} comes first"
    if own is not None and (files := replaced_files()):
        yield "", f"in place of camexp's own: {', '.join(files)}"


def extras() -> Iterator[Row]:
    """What is installed beside the default, and how to install the rest."""
    for extra in extra_names():
        problems = sorted({problem for one in requirements(extra) if (problem := lacking(one))})
        yield extra, f"pip install 'camexp[{extra}]'   ({'; '.join(problems)})" if problems else "installed"


def brought_parts() -> Iterator[Row]:
    """The entry points of other packages, each imported."""
    found = [entry for group in (plugins.TRUNKS, plugins.DATASETS) for entry in entry_points(group=group)]
    for entry in found:
        option = "model" if entry.group == plugins.TRUNKS else "dataset"
        try:
            plugins.import_entry(entry)
            told = plugins.plugin_owner(entry)
        except Exception as error:
            told = f"broken: {error}"
        yield f"{option}={entry.name}", told
    if not found:
        yield "none", f"no installed package has entry points in {plugins.TRUNKS} or {plugins.DATASETS}"


def processor_name() -> str:
    """As the system calls it; its architecture where that says nothing."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()} ({platform.machine()})"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _bfloat16(native: bool) -> str:
    return "bfloat16 natively" if native else "bfloat16 by way of float32 only"


SECTIONS: dict[str, Callable[[], Iterable[Row]]] = {
    "versions": versions,
    "devices": devices,
    "what auto chooses": choices,
    "folders": folders,
    "extras": extras,
    "plugins": brought_parts,
}
