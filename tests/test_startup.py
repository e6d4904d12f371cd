"""What a start waits for: which modules each script imports, and when. No timings: benchmarks/startup.py has those."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import camexp.models
from camexp.cli import heavy_imports
from camexp.models import TRUNKS, CAMClassifier, Preprocessing, build_trunk, checkpoint_metadata, load
from camexp.models.pretrained import is_published_name
from camexp.models.trunks import LIBRARIES
from tests.conftest import ROOT, paint

# What a prediction with the default network has no use for, and what it would wait for.
NOT_FOR_A_PREDICTION = {
    "torchvision": "all its networks, for the layers of one",
    "torch._dynamo": "the compiler, which comes with torchvision and with an optimizer: a second",
    "torch._inductor": "the compiler's other half",
    "sympy": "the compiler's arithmetic",
    "triton": "the compiler's GPU kernels",
    "pytorch_lightning": "trains",
    "lightning_fabric": "trains",
    "torchmetrics": "measures; with it come scipy.signal, scipy.stats, pyplot and torchvision",
    "scipy.signal": "comes with torchmetrics",
    "scipy.stats": "comes with torchmetrics",
    "matplotlib.pyplot": "comes with torchmetrics; colour maps do not need it",
    "tensorboard": "logs a training",
    "rich": "draws progress on a terminal only",
    "timm": "is for model=timm",
    "torchcam": "is for other methods than cam",
    "camexp.training": "trains",
    "camexp.evaluation": "measures",
    "camexp.features": "keeps what a training reads again",
}
# --help, --cfg and the process that only starts a sweep's jobs.
NOT_FOR_HELP = {"torch": "a second", "numpy": "comes with torch", "scipy": "comes with the maps", "matplotlib": "draws"}


def imported(code: str, cwd: Path) -> set[str]:
    """The modules that a fresh interpreter has after some code."""
    end = "\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + end], cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def as_script(name: str, *arguments: str) -> str:
    """Code that runs a script as its user does, and goes on afterwards."""
    return (
        f"import runpy, sys\nsys.argv = {[name, *arguments]!r}\n"
        f"try:\n    runpy.run_path({str(ROOT / name)!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code"
    )


def save(model: CAMClassifier, path: Path) -> Path:
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, path)
    return path


@pytest.fixture
def model() -> CAMClassifier:
    torch.manual_seed(0)
    head = {"channels": 8, "init_std": 0.1}
    return CAMClassifier("vgg11_bn", ["duck", "llama"], Preprocessing((32, 32)), width=1 / 16, head=head).eval()


@pytest.mark.slow
def test_a_prediction_imports_what_it_needs(model, tmp_path):
    checkpoint, image = save(model, tmp_path / "a.ckpt"), paint(tmp_path / "a.png", (200, 50, 40))
    arguments = (f"ckpt={checkpoint}", f"input={image}", "output=out", "gpus=0", "npz=true", "colorbar=true")
    modules = imported(as_script("predict.py", *arguments), tmp_path)
    assert (tmp_path / "out" / "montage_0001.png").is_file() and {"torch", "camexp.prediction"} <= modules
    assert {name: why for name, why in NOT_FOR_A_PREDICTION.items() if name in modules} == {}


@pytest.mark.parametrize("name", ["train.py", "predict.py", "evaluate.py"])
def test_help_waits_for_no_library(name, tmp_path):
    modules = imported(as_script(name, "--help"), tmp_path)
    assert "camexp.cli" in modules
    assert {library: why for library, why in NOT_FOR_HELP.items() if library in modules} == {}


def test_a_training_step_waits_for_no_evaluation(tmp_path):
    modules = imported("from camexp import data, models, training", tmp_path)
    assert "pytorch_lightning" in modules
    assert not {"camexp.evaluation", "camexp.prediction", "tensorboard", "timm"} & modules


@pytest.fixture
def backbone_file(tmp_path, monkeypatch) -> str:
    """The module of a backbone, and of a library, in a file of its own beside the others."""
    name = "camexp.models.backbone_of_a_test"
    (tmp_path / "backbone_of_a_test.py").write_text(
        "from camexp.models.trunks import LIBRARIES, TRUNKS, vgg\n"
        "TRUNKS['mine'] = lambda name, width: vgg('vgg11', width)\n"
        "LIBRARIES['ours'] = lambda name, stride: vgg(name, 1 / 16)\n"
    )
    monkeypatch.setattr(camexp.models, "__path__", [*camexp.models.__path__, str(tmp_path)])
    for registry, key in ((TRUNKS, "mine"), (LIBRARIES, "ours"), (sys.modules, name)):
        monkeypatch.setitem(registry, key, None)  # forgotten again after the test
        del registry[key]
    return name


def test_a_known_backbone_does_not_wait_for_the_others(backbone_file):
    build_trunk("vgg11", 1 / 16)
    assert not is_published_name("timm") and backbone_file not in sys.modules


@pytest.mark.parametrize("name", ["mine", "ours/vgg13"])
def test_a_backbone_in_a_file_of_its_own_is_known_without_being_listed(backbone_file, name):
    assert build_trunk(name, 1.0 if "/" in name else 1 / 16).stride == 16
    assert backbone_file in sys.modules


def test_a_library_in_a_file_of_its_own_names_networks(backbone_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs", "best.ckpt").touch()
    assert not is_published_name("runs/best.ckpt") and backbone_file not in sys.modules
    assert is_published_name("ours/vgg13") and not is_published_name("runs/other.ckpt")


def test_loading_draws_no_weights_that_it_would_throw_away(model, tmp_path):
    checkpoint = save(model, tmp_path / "a.ckpt")
    before = torch.get_rng_state()
    loaded = load(checkpoint, "cpu", "32-true")
    assert torch.equal(torch.get_rng_state(), before)
    ours, theirs = loaded.state_dict(), model.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert {tensor.device.type for tensor in (*loaded.parameters(), *loaded.buffers())} == {"cpu"}
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.explain(torch.rand(1, 3, 32, 48)).maps.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_any_precision_become_float32(model, dtype, tmp_path):
    loaded = load(save(model.to(dtype), tmp_path / "a.ckpt"), "cpu", "32-true")
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32, torch.int64}


def test_the_collector_rests_during_the_first_imports_only():
    before = gc.get_freeze_count()  # 375 in Python 3.12, 0 in others
    with heavy_imports():  # torch is here already
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
    code = (
        "import gc\nfrom camexp.cli import heavy_imports\nbefore = gc.get_freeze_count()\n"
        "try:\n    with heavy_imports():\n        assert not gc.isenabled()\n        import fractions, no_such_module\n"
        "except ImportError:\n    pass\nassert gc.isenabled() and gc.get_freeze_count() > before"
    )
    assert "fractions" in imported(code, Path.cwd())


@pytest.mark.parametrize("triton, bindings, frozen", [
    (True, "nanobind", False), (True, "pybind11_builtins", True), (False, "nanobind", True),
])  # fmt: skip
def test_triton_finds_at_the_end_what_it_wants_freed(triton, bindings, frozen):
    """Bindings by nanobind count what the last collection leaves, and print it as leaks; nothing else waits for one."""
    code = (
        "import atexit, gc, sys, types\nfrom camexp.cli import heavy_imports\n"
        "atexit.register(lambda: print(bool(gc.get_freeze_count())))\n"  # the first one registered runs last
        "with heavy_imports():\n    import fractions\n"
        f"metaclass = type('metaclass', (type,), {{'__module__': '{bindings}'}})\n"
        "ir = types.SimpleNamespace(context=metaclass('context', (), {}))\n"
        f"if {triton}:\n    sys.modules.update({{'triton': types.ModuleType('triton'), 'triton._C.libtriton.ir': ir}})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(frozen)
