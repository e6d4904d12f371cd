"""The import graph: each part imports only from parts below it (the contracts are in pyproject.toml)."""

import subprocess
import sys

from tests.conftest import ROOT


def test_the_layers_hold():
    # a process of its own: in this one it would switch off every logger that other tests listen to
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
