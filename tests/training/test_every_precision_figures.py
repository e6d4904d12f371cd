"""Logits, maps and measurements of every number format against float64's, and what a format cannot do is told."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from camexp.models.trunks import build_trunk
from tests.conftest import TINY, run_process
from tests.training.precisions import EVERY, reference, tolerance

# logits and maps that differ from image to image by more than bfloat16 rounds
SPREAD = ("optimizer=sgd", "model.head.dropout=0", "model.head.init_std=0.5", "trainer.max_steps=2", "precision=64-true",
          "logger=csv", "inspect.every_n_steps=0", "hydra.run.dir=run")  # fmt: skip
CKPT = "ckpt=run/checkpoints/last.ckpt"
METHODS = ("cam", "gradcam")


@pytest.fixture
def data(colours: Path) -> tuple[str, ...]:
    return "dataset=imagefolder", f"dataset.root={colours}", *TINY


def predicted(folder: str, name: str) -> np.ndarray:
    """The logits or the maps of all images, of all classes."""
    paths = sorted(Path(folder, "maps").glob("*.npz"))
    assert len(paths) == 24
    return np.stack([np.load(path)[name] for path in paths])


def require_close(folder: str, exactly: str, precision: str) -> None:
    for name in ("logits", "maps"):
        figures, exact = predicted(folder, name), predicted(exactly, name)
        allowed = tolerance(precision) * np.abs(exact).max()
        assert np.ptp(exact, axis=0).max() > 2 * allowed, "another image's would not be told apart"
        assert np.abs(figures - exact).max() <= allowed, (folder, name)


def measured(folder: str, method: str) -> dict[str, dict[str, str]]:
    with Path(folder, "per_image.csv").open(newline="") as file:
        return {row["path"]: row for row in csv.DictReader(file) if row["method"] == method}


@pytest.mark.slow
@pytest.mark.parametrize("precision", (*EVERY, "16-true"))
def test_predict_and_evaluate(script, data, colours, precision):
    pytest.importorskip("torchcam")
    done = script("train.py", *data, *SPREAD)
    assert done.code == 0, done.err
    for folder, format in (("own", precision), ("exact", reference(precision))):
        common = (CKPT, "gpus=0", "num_workers=0", f"precision={format}")
        for method in METHODS:
            done = script("predict.py", *common, f"input={colours}", f"cam={method}", "label=all", "npz=true",
                          "mat.write=false", "overlays=false", "montage.images=0", f"output={folder}-{method}")  # fmt: skip
            assert done.code == 0, done.err
        done = script("evaluate.py", *common, "cam=cam,gradcam", "part=all", "sheet.images=0", "features.cache=off",
                      f"output={folder}-measured")  # fmt: skip
        assert done.code == 0, done.err
    # two logits off by d each change a probability p by at most 2d·p(1-p) <= d/2; it is printed with six digits
    allowed = tolerance(precision) * np.abs(predicted("exact-cam", "logits")).max() / 2 + 1e-6
    for method in METHODS:
        require_close(f"own-{method}", f"exact-{method}", precision)
        rows, exact = (measured(f"{folder}-measured", method) for folder in ("own", "exact"))
        assert len(rows) == 24 and rows.keys() == exact.keys()
        for path, row in rows.items():  # of the true class
            assert abs(float(row["probability"]) - float(exact[path]["probability"])) <= allowed


@pytest.mark.slow
def test_16_mixed_says_what_it_is_on_a_cpu(script, data, colours):
    said = "precision=16-mixed is for GPUs: on the CPU bf16-mixed is taken instead"
    results = {}
    for precision in ("16-mixed", "bf16-mixed"):
        own = [one for one in SPREAD if not one.startswith(("precision=", "hydra.run.dir="))]
        train = script("train.py", *data, *own, f"precision={precision}", f"hydra.run.dir={precision}")
        ckpt = f"ckpt={precision}/checkpoints/last.ckpt"
        common = (ckpt, f"precision={precision}", "gpus=0", "num_workers=0")
        predict = script("predict.py", *common, f"input={colours}", "npz=true", "overlays=false", "mat.write=false",
                         "montage.images=0", f"output={precision}-predicted")  # fmt: skip
        evaluate = script("evaluate.py", *common, f"output={precision}-measured", "sheet.images=0")
        for done in (train, predict, evaluate):
            assert done.code == 0, done.err
            assert done.out.count(said) == (precision == "16-mixed"), done.out
        results[precision] = torch.load(ckpt.removeprefix("ckpt="), weights_only=True)["state_dict"]
        results[precision]["maps"] = torch.from_numpy(predicted(f"{precision}-predicted", "maps"))
    for name, value in results["16-mixed"].items():
        assert torch.equal(value, results["bf16-mixed"][name]), name


@pytest.mark.slow
def test_an_optimizer_that_would_divide_by_zero_is_refused(script, data):
    """Adam's eps of 1e-8 is none in float16: its first step would make the weights no numbers."""
    common = (*data, "precision=16-true", "logger=csv", "inspect.every_n_steps=0")
    done = script("train.py", *common, "hydra.run.dir=run")
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert "optimizer.eps=1e-08 is 0 in float16" in done.err and "+optimizer.eps=1e-4" in done.err
    assert not list(Path("run").rglob("*.ckpt"))
    for folder, own in (("adam", "+optimizer.eps=1e-4"), ("sgd", "optimizer=sgd")):
        done = script("train.py", *common, own, "trainer.max_steps=3", f"hydra.run.dir={folder}")
        assert done.code == 0, done.err


@pytest.mark.slow
def test_compile_without_a_compiler_is_refused(script, data, colours, monkeypatch):
    assert script("train.py", *data, *SPREAD).code == 0
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    for done in (
        script("train.py", *data, "compile=true", "hydra.run.dir=compiled"),
        script("predict.py", CKPT, f"input={colours}", "gpus=0", "compile=true", "output=predicted"),
        script("evaluate.py", CKPT, "gpus=0", "compile=true", "output=measured"),
    ):
        assert done.code == 1 and done.err.count("\n") == 1, done.err
        assert "compile=true needs a C++ compiler, and no-such-compiler is none" in done.err
    assert not Path("compiled/metrics.csv").exists() and not Path("predicted/predictions.csv").exists()


@pytest.mark.long  # a minute each: the compiler takes seconds for each size of a batch
@pytest.mark.parametrize("precision", EVERY)
def test_compiled(data, colours, tmp_path, monkeypatch, precision):
    """The compiled trunk trains, predicts and is measured. Without a compiler: see the test above."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        pytest.skip("torch.compile needs a C++ compiler")
    pytest.importorskip("torchcam")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), "w.safetensors")
    frozen = ("model.weights=w.safetensors", "model.freeze=trunk", "features.cache=kept", "transform=flip")
    own = ("compile=true", f"precision={precision}", "trainer.max_steps=2")
    done = run_process("train.py", *data, *SPREAD, *frozen, *own, cwd=tmp_path, fresh=True)
    assert done.code == 0, done.err
    for compiled, format, folder in (("true", precision, "compiled"), ("false", reference(precision), "exact")):
        common = (CKPT, "gpus=0", "num_workers=0", f"compile={compiled}", f"precision={format}")
        done = run_process("predict.py", *common, f"input={colours}", "label=all", "npz=true", "montage.images=0",
                           f"output={folder}", cwd=tmp_path)  # fmt: skip
        assert done.code == 0, done.err
        done = run_process("evaluate.py", *common, "cam=cam,gradcam", "sheet.images=0", f"output={folder}-measured",
                           cwd=tmp_path)  # fmt: skip
        assert done.code == 0, done.err
    require_close("compiled", "exact", precision)
    assert measured("compiled-measured", "cam").keys() == measured("exact-measured", "gradcam").keys()
