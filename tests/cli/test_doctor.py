"""``camexp doctor``: readable, and above all readable where something is broken."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from camexp import __version__
from camexp.commands import doctor, main
from camexp.extras import extra_names, lacking, requirements
from camexp.precision import NATIVE
from tests.conftest import ROOT


@pytest.mark.parametrize(("native", "predicting"), [("yes", "bf16-mixed"), ("no", "32-true")])
def test_it_says_what_auto_chooses_and_why(native, predicting, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(NATIVE, native)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"{__version__}   " in out and torch.__version__ in out
    assert f"precision=auto      {predicting} to predict, evaluate, and train on a frozen trunk" in out
    assert "32-true to train a trunk (" in out
    assert ("bfloat16 would be faster" in out) == (native == "yes")
    assert f"GB for {tmp_path / 'outputs'}" in out and "none: no conf/ in this folder" in out
    assert "could not be asked" not in out


def test_own_configs_are_told(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "vgg19.yaml").touch()
    rows = [text for _, text in doctor.folders()]
    assert f"{tmp_path / 'conf'} comes first" in rows and "in place of camexp's own: conf/model/vgg19.yaml" in rows


def test_missing_extras_come_with_the_command(monkeypatch):
    monkeypatch.setattr(doctor, "lacking", lambda one: f"{one.name} is missing" if one.name == "timm" else "")
    rows = dict(doctor.extras())
    assert rows["timm"] == "pip install 'camexp[timm]'   (timm is missing)" and rows["contours"] == "installed"
    assert "timm is missing" in rows["test"]  # an extra that is made of others
    assert set(rows) == set(extra_names()) >= {"timm", "wandb", "optuna", "ray"}


def test_requirements_are_those_of_the_metadata():
    names = {one.name for one in requirements()}
    assert {"torch", "hydra-core"} <= names and "timm" not in names
    assert {one.name for one in requirements("timm")} == {"timm"}
    assert {one.name for one in requirements("bench")} >= {"grad-cam", "torchcam"}  # its own, and of another extra
    assert not any(lacking(one) for one in requirements())


BROKEN = """
import sys
for name in ("torch", "pydantic"):
    sys.modules[name] = None  # an import of it fails
from camexp.commands import main
sys.exit(main(["doctor"]))
"""


def test_it_works_where_libraries_do_not(tmp_path):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("could not be asked (ModuleNotFoundError") == 3  # devices, choices, folders
    assert "extras\n" in done.stdout and "plugins\n" in done.stdout


def test_it_takes_no_arguments(capsys):
    assert (main(["doctor", "--help"]), main(["doctor", "me"])) == (0, 1)
    assert capsys.readouterr().out.count("usage: camexp doctor") == 2
