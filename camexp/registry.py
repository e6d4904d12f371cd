"""Registries: a dictionary of names, to which every file of a package may add."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def import_modules(package: ModuleType) -> None:
    """Import every file of a package, so that what a file of its own registers is known without being listed.

    Done for names that are not known yet: who asks for another one need not wait for what such a file imports.
    """
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
