"""Imports of large libraries without garbage collection."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy_imports() -> Iterator[None]:
    """In the block the garbage collector rests, and what was made there it never looks through again.

    torch and Lightning bring hundreds of thousands of objects that stay until the process ends. Searching them for
    something to free, again and again while they are imported and once more at the end, takes a quarter of the time
    of a short run (benchmarks/RESULTS.md).

    Where torch is imported already nothing is changed: the objects of whoever did that are theirs to collect.

    >>> with heavy_imports():
    ...     import json
    >>> gc.isenabled()
    True
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(_collect_for_triton)


def _collect_for_triton() -> None:
    """The Triton of torch 2.15 would list what is not freed at the end as leaked: 30 lines after the result.

    That is nanobind's doing. Where pybind11 made Triton's bindings nothing is listed, and to free all takes seconds.
    """
    context = getattr(sys.modules.get("triton._C.libtriton.ir"), "context", None)
    if "triton" in sys.modules and type(context).__module__ != "pybind11_builtins":
        gc.unfreeze()
