"""What a machine with a GPU runs with ``pytest -m gpu``: the scripts as a user runs them, and the benchmarks.

``CAMEXP_TEST_DEVICE=cpu pytest -m gpu`` rehearses the same tests where there is none.
"""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from camexp.models.trunks import build_trunk
from camexp.precision import resolve_precision
from tests import conftest
from tests.conftest import TINY, paint

pytestmark = [pytest.mark.gpu, pytest.mark.slow]
run_process = partial(conftest.run_process, fresh=True)  # CUDA, once asked for, survives no fork
SMALL = (*(option for option in TINY if not option.startswith("trainer.gpus")), "trainer.log_every_n_steps=1")
TRUNKS = {
    "frozen": ("model.weights=w.safetensors", "model.freeze=trunk", "transform=flip", "features.cache=kept"),
    "training": ("model=vgg11_bn", "model.freeze=none", "transform=augment"),
}
CURVE = ("step", "train/loss", "val/loss")


@pytest.fixture
def gpus(device: str) -> str:
    """The option that takes the device."""
    return str(int(device == "cuda"))


@pytest.fixture
def train(script, colours, gpus):
    """``train.py`` on three classes of colours, into a folder."""
    torch.manual_seed(0)
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), "w.safetensors")

    def call(folder: str, *arguments: str, code: int = 0) -> Path:
        data = ("dataset=imagefolder", f"dataset.root={colours}", f"trainer.gpus={gpus}")
        done = script("train.py", *data, *SMALL, f"hydra.run.dir={folder}", "trainer.max_epochs=25", *arguments)
        assert done.code == code, done.out + done.err
        return Path(folder)

    return call


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def curve(folder: Path) -> list[list[float]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [[float(row[name] or "nan") for name in CURVE] for row in csv.DictReader(file)]


def require_alike(one: Path, other: Path, tolerance: float) -> None:
    """GPUs add in an order of their own, and multiply float32 in fewer digits (TF32)."""
    curves = curve(one), curve(other)
    assert len(curves[0]) == len(curves[1]) > 3
    for row, same in zip(*curves, strict=True):
        assert row == pytest.approx(same, rel=tolerance, abs=tolerance, nan_ok=True)


@pytest.mark.parametrize("precision", ["auto", "bf16-mixed", "16-mixed", "32-true", "bf16-true"])
@pytest.mark.parametrize("trunk", TRUNKS)
def test_twenty_steps(train, device, trunk, precision):
    folder = train("run", *TRUNKS[trunk], f"precision={precision}", "trainer.max_steps=20", "inspect.every_n_steps=5")
    told = summary(folder)
    assert told["steps"] == 20 and all(map(math.isfinite, told["final"].values()))
    if device == "cuda":
        assert told["device"] == torch.cuda.get_device_name()
        assert told["precision"] == resolve_precision(precision, device)
    if trunk == "frozen":  # two views of 18 images, one of the other 6
        assert told["features"]["computed"] <= 2 * 18 + 6 and told["features"]["read"] > 100
    checkpoint = torch.load(folder / "checkpoints/last.ckpt", map_location="cpu", weights_only=True)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())
    assert np.isfinite(np.load(folder / "cams/step_000020.npy")).all()
    losses = [row[1] for row in curve(folder) if not math.isnan(row[1])]
    assert len(losses) == 20 and all(map(math.isfinite, losses))


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_curve_of_the_cpu(train, trunk):
    options = (*TRUNKS[trunk], "precision=32-true", "model.head.dropout=0", "trainer.max_steps=6")
    require_alike(train("gpu", *options), train("cpu", *options, "trainer.gpus=0"), 0.02)


@pytest.mark.parametrize(("trunk", "precision"), [("frozen", "auto"), ("training", "16-mixed")])
def test_an_interrupted_run_goes_on(train, trunk, precision):
    options = (*TRUNKS[trunk], f"precision={precision}", "resume=auto", "trainer.max_steps=20")
    whole = train("whole", *options)
    stop = f"{{_target_:tests.training.conftest.Trip,step:7,when:on_train_batch_end,signum:{int(signal.SIGTERM)}}}"
    train("parts", *options, f"+callbacks.trip={stop}", code=128 + signal.SIGTERM)
    parts = train("parts", *options)
    assert summary(parts)["steps"] == 20
    require_alike(whole, parts, 0.05)


def test_two_gpus(device, colours, tmp_path):
    if device == "cuda" and torch.cuda.device_count() < 2:
        pytest.skip(f"torch sees {torch.cuda.device_count()} GPU, two are needed")
    one, two = ("trainer.gpus=1", "trainer.gpus=2") if device == "cuda" else ("trainer.gpus=0", "trainer=ddp_cpu")
    common = ("dataset=imagefolder", f"dataset.root={colours}", *SMALL, "precision=32-true", "trainer.max_steps=6")
    for name, devices in (("one", one), ("two", two)):
        done = run_process("train.py", *common, devices, "trainer.max_epochs=9", f"hydra.run.dir={name}", cwd=tmp_path)
        assert done.code == 0, done.out + done.err
    assert summary(tmp_path / "two")["devices"] == 2
    require_alike(tmp_path / "one", tmp_path / "two", 0.02)


@pytest.mark.parametrize("method", ["cam", "gradcam"])
@pytest.mark.parametrize("precision", ["auto", "32-true"])
def test_prediction(train, script, colours, gpus, method, precision):
    if method != "cam":
        pytest.importorskip("torchcam")
    checkpoint = train("run", "trainer.max_steps=2") / "checkpoints/last.ckpt"
    paint(colours / "red" / "wide.png", (200, 50, 40), size=(90, 60))
    common = (f"ckpt={checkpoint}", f"input={colours}", "label=top2", "resize=null", "npz=true", f"cam={method}")
    for name, where in (("gpu", gpus), ("cpu", "0")):
        precise = precision if name == "gpu" else "32-true"
        done = script("predict.py", *common, f"precision={precise}", f"output={name}", f"gpus={where}")
        assert done.code == 0, done.out + done.err
    names = sorted(path.name for path in Path("gpu/maps").glob("*.npz"))
    assert len(names) == 25
    for name in names:
        ours, reference = (np.load(Path(one, "maps", name)) for one in ("gpu", "cpu"))
        assert ours["maps"].shape == reference["maps"].shape and np.isfinite(ours["maps"]).all()
        off = np.abs(ours["logits"] - reference["logits"]).max()
        assert off <= 0.05 * max(np.abs(reference["logits"]).max(), 0.1)


def test_evaluation_of_two_methods(script, gpus):
    pytest.importorskip("torchcam")
    shapes = ("dataset=shapes", "dataset.per_class=5", "dataset.size=64", *SMALL, f"trainer.gpus={gpus}")
    done = script("train.py", *shapes, "trainer.max_steps=2", "hydra.run.dir=run")
    assert done.code == 0, done.out + done.err
    for number in range(2):  # the second time plain CAM's features are there
        for cams in ("cam", "cam,gradcam"):
            more = ("faithfulness.images=3", "faithfulness.steps=4") if cams != "cam" else ()
            done = script("evaluate.py", "ckpt=run/checkpoints/best.ckpt", f"cam={cams}", f"gpus={gpus}", *more,
                          f"output={cams.replace(',', '_')}{number}")  # fmt: skip
            assert done.code == 0, done.out + done.err
    measured = json.loads(Path("cam_gradcam0", "metrics.json").read_text())["methods"]
    assert list(measured) == ["cam", "gradcam"]
    for one in measured.values():
        figures = [one[name] for name in ("top1", "MaxBoxAccV2", "PxAP", "insertion", "deletion", "average_drop")]
        assert all(0 <= figure <= 1 for figure in figures)


def test_compiled(device, gpus, colours, tmp_path):
    if not any(map(shutil.which, ("gcc", "clang", "cc") if device == "cuda" else ("g++", "clang++"))):
        pytest.skip("torch.compile needs a C compiler")
    common = ("dataset=imagefolder", f"dataset.root={colours}", *SMALL, "trainer.max_steps=3", f"trainer.gpus={gpus}")
    done = run_process("train.py", *common, "compile=true", "hydra.run.dir=run", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    options = ("ckpt=run/checkpoints/last.ckpt", f"input={colours / 'red'}", f"gpus={gpus}", "output=out")
    done = run_process("predict.py", *options, "compile=true", cwd=tmp_path)
    assert done.code == 0, done.out + done.err
    assert len(list((tmp_path / "out/maps").glob("*.mat"))) == 8


def benchmark(name: str, device: str, cwd: Path, *arguments: str) -> dict:
    done = run_process(f"benchmarks/{name}.py", "--device", device, "--json", "out.json", *arguments, cwd=cwd)
    assert done.code == 0, done.out + done.err
    return json.loads((cwd / "out.json").read_text())


def test_the_benchmark_of_maps(device, tmp_path):
    pytest.importorskip("torchcam")
    pytest.importorskip("pytorch_grad_cam")
    result = benchmark("cam", device, tmp_path, "--batch", "1", "--classes", "6", "--repeats", "1")
    assert all(seconds > 0 for seconds in result["seconds"].values())
    assert result["agreement"]["torch-cam (raw maps)"] < 0.02


def test_the_benchmark_of_training(device, colours, tmp_path):
    torch.manual_seed(0)
    save_file(build_trunk("vgg16").features.state_dict(), tmp_path / "vgg16.safetensors")
    result = benchmark("training", device, tmp_path, "--data", str(colours), "--weights", "vgg16.safetensors",
                       "--classes", "2", "--images", "5", "--epochs", "1")  # fmt: skip
    assert all(seconds > 0 for seconds, _ in result["seconds_and_accuracy"].values())


def test_the_benchmark_of_prediction(device, colours, tmp_path):
    result = benchmark("predict", device, tmp_path, "--data", str(colours), "--images", "4", "--many", "20")
    assert result["ratio"] > 0 and result["precision"] == resolve_precision("auto", device)
