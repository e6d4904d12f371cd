"""camexp: class activation mapping experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.4.0.dev0"  # the one place; packaging reads it here
__all__ = ["CAMClassifier", "CAMResult", "UserError", "load", "show"]

if TYPE_CHECKING:
    from camexp.errors import UserError
    from camexp.models import CAMClassifier, CAMResult, load
    from camexp.viewer.notebook import show

_HOMES = {
    "load": "camexp.models",
    "CAMClassifier": "camexp.models",
    "CAMResult": "camexp.models",
    "UserError": "camexp.errors",
    "show": "camexp.viewer.notebook",
}


def __getattr__(name: str) -> Any:
    # torch takes a second to import: `train.py --help` must not wait for it.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'camexp' has no attribute {name!r}")
