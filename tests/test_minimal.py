"""What predicting needs: the few packages of requirements-predict.txt, and no other."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from importlib.metadata import distributions, requires

import pytest
import torch
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from camexp.models import CAMClassifier, Preprocessing
from tests.conftest import ROOT, paint
from tests.test_startup import save

MINIMAL = [
    Requirement(line)
    for line in (ROOT / "requirements-predict.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
# Ends an import of anything else as if it were not installed; then predicts.
BLOCKED = """
import importlib.abc, importlib.util, json, runpy, sys
forbidden = set(json.loads(sys.argv.pop(1)))
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in forbidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in forbidden else find_spec(name)
"""
PREDICT = """
from camexp.commands import main
try:
    main(["predict", *sys.argv[1:]])
except SystemExit as stop:
    assert not stop.code, stop.code
print()
print(json.dumps(sorted(sys.modules)))
"""
LOAD = """
import camexp
from PIL import Image
model = camexp.load("a.ckpt", "cpu")
print(tuple(model.explain(model.preprocess(Image.open("a.png"))[None], "all").maps.shape))
"""


def closure(names: list[str]) -> set[str]:
    """Distributions with all that they need, of those that are installed here."""
    found: set[str] = set()
    ahead = [canonicalize_name(name) for name in names]
    while ahead:
        name = ahead.pop()
        if name in found:
            continue
        found.add(name)
        for text in requires(name) or []:
            one = Requirement(text)
            if one.marker is None or one.marker.evaluate({"extra": ""}):
                ahead.append(canonicalize_name(one.name))
    return found


def full() -> list[str]:
    """The package's own requirements, as they are written."""
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    content: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return content


@functools.cache
def forbidden() -> list[str]:
    """Every package that is importable here, less those of the minimal installation."""
    allowed = closure([one.name for one in MINIMAL]) | {"camexp"}
    owners: dict[str, set[str]] = {}  # Python 3.10's packages_distributions does not know rich and safetensors
    for one in distributions():
        for module in {file.parts[0].partition(".")[0] for file in one.files or [] if file.suffix in (".py", ".so")}:
            owners.setdefault(module, set()).add(canonicalize_name(one.metadata["Name"]))
    return sorted(module for module, names in owners.items() if module.isidentifier() and not names & allowed)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    head = {"channels": 8, "init_std": 0.1}
    model = CAMClassifier("vgg11_bn", ["duck", "llama"], Preprocessing((32, 32)), width=1 / 16, head=head)
    paint(tmp_path / "a.png", (200, 50, 40))
    return save(model.eval(), tmp_path / "a.ckpt")


def run(code: str, *arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", BLOCKED + code, json.dumps(forbidden()), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})


def test_the_minimal_requirements_are_of_the_package_too():
    assert {str(one) for one in MINIMAL} < {str(Requirement(one)) for one in full()}


def test_what_trains_is_no_part_of_a_minimal_installation():
    out = {"pytorch_lightning", "torchmetrics", "tensorboard", "matplotlib", "torchvision", "rich", "safetensors"}
    assert out <= set(forbidden())


@pytest.mark.slow
def test_a_minimal_installation_predicts(checkpoint, tmp_path):
    arguments = ("ckpt=a.ckpt", "input=a.png", "output=out", "gpus=0", "label=all", "npz=true", "colorbar=true")
    done = run(PREDICT, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {"a__duck.png", "a__llama.png", "a.mat", "a.npz", "montage_0001.png", "predictions.csv"} <= written


@pytest.mark.slow
def test_a_minimal_installation_says_what_it_lacks(checkpoint, tmp_path):
    done = run(PREDICT, "ckpt=a.ckpt", "input=a.png", "output=out", "gpus=0", "colormap=viridis", cwd=tmp_path)
    assert "error: colormap=viridis needs matplotlib: pip install matplotlib, or take colormap=jet" in done.stderr


@pytest.mark.slow
def test_a_minimal_installation_loads_in_python(checkpoint, tmp_path):
    done = run(LOAD, cwd=tmp_path)
    assert done.stdout.strip() == "(1, 2, 2, 2)", done.stderr


def test_a_minimal_installation_is_less_than_half_of_the_full_one():
    """Beside torch with all that it needs, which both have."""
    torchs = closure(["torch"])
    minimal, whole = (
        closure([one.name for one in MINIMAL]) - torchs,
        closure([Requirement(one).name for one in full()]) - torchs,
    )
    assert len(minimal) <= len(whole) / 2
