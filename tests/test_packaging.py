"""``pip install camexp`` gives a program: the archives are built, and the wheel is used in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from camexp import __version__
from tests.conftest import ROOT

pytestmark = pytest.mark.slow

CONF = {path.relative_to(ROOT).as_posix() for path in (ROOT / "camexp" / "conf").rglob("*.yaml")}
MINE = """# @package _global_
dataset: {per_class: 6, size: 64}
trainer: {max_steps: 2, gpus: 0}
num_workers: 0
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    own = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "CAMEXP_CONF")}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, env={**own, **environment}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def backend(tmp_path_factory) -> str:
    """The folder of hatchling, for ``PYTHONPATH``."""
    folder = tmp_path_factory.mktemp("backend")
    fetch = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), "hatchling"]
    if subprocess.run(fetch, capture_output=True).returncode:
        pytest.skip("the build backend cannot be fetched here")
    return str(folder)


@pytest.fixture(scope="module")
def archives(backend, tmp_path_factory) -> tuple[Path, Path]:
    """The source archive, and the wheel that is built from it, as pip does it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT, PYTHONPATH=backend)
    [sdist] = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder)
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=unpacked, PYTHONPATH=backend)
    [wheel] = folder.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def installed(archives, tmp_path_factory) -> Path:
    """The ``bin`` of a fresh environment with the wheel; the libraries are those of this one, not fetched again."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # an editable camexp of this environment comes by a .pth of its own, which is not read through ours
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index"),
        *("--ignore-installed", archives[1]),
        cwd=folder,
    )
    return folder / "bin"


def test_the_wheel_holds_the_configurations_and_no_tests(archives):
    with zipfile.ZipFile(archives[1]) as wheel:
        names = set(wheel.namelist())
    assert names >= CONF and len(CONF) > 40
    assert {name.partition("/")[0] for name in names} == {"camexp", f"camexp-{__version__}.dist-info"}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "camexp").rglob("*.py")}
    assert sources <= names


def test_the_source_archive_holds_the_configurations_once(archives):
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {*CONF, "train.py", "tests/conftest.py", "requirements-predict.txt"}
    assert not any(name.startswith("conf/") for name in names)


def test_an_empty_folder_is_enough(installed, tmp_path):
    camexp = installed / "camexp"
    where = run(installed / "python", "-c", "import camexp; print(camexp.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    assert run(camexp, "--version", cwd=tmp_path) == f"camexp {__version__}\n"

    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "mine.yaml").write_text(MINE, encoding="utf-8")
    assert "experiment: accurate, cpu, localise, mine, modern, recipe" in run(camexp, "train", "--help", cwd=tmp_path)

    told = run(camexp, "train", "experiment=mine", "hydra.run.dir=run", cwd=tmp_path)
    assert "configs: own ones in conf come first" in told
    assert "\n  camexp predict ckpt=run/checkpoints/best.ckpt input=" in told
    assert {"summary.json", "metrics.csv", "train.log"} <= {path.name for path in (tmp_path / "run").iterdir()}

    image = next((tmp_path / "outputs" / "data" / "shapes").rglob("images/*/*.jpg"))
    checkpoint = "ckpt=run/checkpoints/best.ckpt"
    run(camexp, "predict", checkpoint, f"input={image}", "gpus=0", "output=maps", cwd=tmp_path)
    assert (tmp_path / "maps" / "montage_0001.png").is_file()
    run(installed / "camexp-evaluate", checkpoint, "gpus=0", "num_workers=0", "output=figures", cwd=tmp_path)
    assert (tmp_path / "figures" / "metrics.json").is_file()
