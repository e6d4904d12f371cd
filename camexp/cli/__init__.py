"""The command line: arguments as Hydra takes them, errors as sentences, the commands beside the scripts.

Light on purpose: ``--help`` must not wait for torch.
"""

from camexp.cli.entry_point import run
from camexp.cli.imports import heavy_imports

__all__ = ["heavy_imports", "run"]
