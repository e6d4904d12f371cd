"""Discovery of what registers itself: any file may add to ``TRUNKS``, ``LIBRARIES`` and ``METHODS``."""

from __future__ import annotations

import importlib
import pkgutil


def import_modules(package: str) -> None:
    """Import every file of a package, so that what a file of its own registers is known without being listed.

    Done for names that are not known yet: who asks for another one need not wait for what such a file imports.
    """
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
