"""train.py, predict.py and evaluate.py on the fake GPU: from the command line to the files, as on the CPU."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from camexp.models.trunks import build_trunk
from tests.conftest import TINY

ON_GPU = (*(option for option in TINY if not option.startswith("trainer.gpus")), "trainer.gpus=null")
FROZEN = ("model.weights=w.safetensors", "model.freeze=trunk", "transform=flip", "features.cache=kept")
TRUNKS = {"frozen": FROZEN, "training": ("model=vgg11_bn", "model.freeze=none", "transform=augment")}

pytestmark = pytest.mark.slow


@pytest.fixture
def train(fake_cuda, script, colours):
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), "w.safetensors")

    def call(*arguments: str, folder: str = "run"):
        common = ("dataset=imagefolder", f"dataset.root={colours}", "trainer.log_every_n_steps=1")
        done = script("train.py", *common, *ON_GPU, f"hydra.run.dir={folder}", *arguments)
        assert done.code == 0, done.out + done.err
        return json.loads(Path(folder, "summary.json").read_text())

    return call


def columns(path: Path, *names: str) -> list[list[float]]:
    with path.open(newline="") as file:
        return [[float(row[name] or "nan") for name in names] for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("trunk", "precision"),
    [
        *(("frozen", name) for name in ("auto", "32-true", "16-mixed", "bf16-true")),
        *(("training", name) for name in ("bf16-mixed", "16-mixed")),
        *(pytest.param(*both, marks=pytest.mark.long) for both in (("frozen", "bf16-mixed"), ("training", "32-true"))),
    ],
)
def test_training(train, trunk, precision):
    # in the second and third epoch of a frozen trunk some views are stored and some are new
    summary = train(*TRUNKS[trunk], f"precision={precision}", "trainer.max_epochs=3", "inspect.every_n_steps=4")
    assert summary["device"] == "fake GPU" and summary["steps"] == 9
    assert summary["precision"] == precision.replace("auto", "bf16-mixed")
    if trunk == "frozen":
        assert summary["features"]["read"] > 0 and summary["features"]["computed"] > 24
    assert np.isfinite([value for (value,) in columns(Path("run/metrics.csv"), "val/loss") if value == value]).all()
    assert np.load("run/cams/step_000004.npy").shape == (1, 2, 2)
    checkpoint = torch.load("run/checkpoints/last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in checkpoint["state_dict"].values())


@pytest.mark.parametrize("trunk", TRUNKS)
def test_the_same_curve_as_on_the_cpu(train, trunk):
    options = (*TRUNKS[trunk], "precision=32-true", "model.head.dropout=0", "features.dtype=float32")
    train(*options, folder="gpu")
    train(*options, "trainer.gpus=0", folder="cpu")
    names = ("step", "train/loss", "train/accuracy", "train/l2", "val/loss", "val/accuracy")
    on_gpu, on_cpu = (columns(Path(name, "metrics.csv"), *names) for name in ("gpu", "cpu"))
    assert len(on_gpu) == len(on_cpu) >= 8
    for one, other in zip(on_gpu, on_cpu, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize(("trunk", "precision"), [("frozen", "32-true"), ("training", "16-mixed")])
def test_an_interruption_leaves_no_trace(train, script, colours, trunk, precision):
    options = (*TRUNKS[trunk], f"precision={precision}", "resume=auto", "trainer.max_epochs=3")
    train(*options, folder="whole")
    trip = f"{{_target_:tests.training.conftest.Trip,step:4,when:on_train_batch_end,signum:{int(signal.SIGTERM)}}}"
    done = script("train.py", "dataset=imagefolder", f"dataset.root={colours}", "trainer.log_every_n_steps=1", *ON_GPU,
                  *options, "hydra.run.dir=parts", "features.cache=others", f"+callbacks.trip={trip}")  # fmt: skip
    assert done.code == 128 + signal.SIGTERM, done.out + done.err
    train(*options, "features.cache=others", folder="parts")
    whole, parts = (torch.load(f"{one}/checkpoints/last.ckpt", weights_only=True) for one in ("whole", "parts"))
    assert whole["global_step"] == parts["global_step"] == 9
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, parts["state_dict"][name]), name
    assert whole.get("MixedPrecision") == parts.get("MixedPrecision")


def test_another_method_is_watched(train):
    train("cam=gradcam", "trainer.max_steps=2", "inspect.every_n_steps=1")
    assert np.load("run/cams/step_000002.npy").shape == (1, 2, 2)


@pytest.mark.parametrize("precision", ["auto", "32-true"])
@pytest.mark.parametrize("method", ["cam", "gradcam"])
def test_prediction(train, script, colours, method, precision):
    train("trainer.max_steps=1")
    common = ("ckpt=run/checkpoints/last.ckpt", f"input={colours}", "label=top2", "npz=true", f"cam={method}")
    for name, gpus in (("gpu", "null"), ("cpu", "0")):
        done = script(
            "predict.py", *common, f"precision={precision}", f"output={name}", f"gpus={gpus}", "num_workers=0"
        )
        assert done.code == 0, done.out + done.err
    names = sorted(path.name for path in Path("gpu/maps").glob("*.npz"))
    assert len(names) == 24
    for name in names:
        on_gpu, on_cpu = (np.load(Path(one, "maps", name)) for one in ("gpu", "cpu"))
        for key in ("logits", "maps"):
            assert np.abs(on_gpu[key] - on_cpu[key]).max() < (1e-5 if precision == "32-true" else 0.05), key


# figures without a threshold, at which a rounding could turn an image over
SMOOTH = ("top1", "top5", "PxAP", "insertion", "deletion", "average_drop")


@pytest.mark.parametrize("label", ["true", pytest.param("predicted", marks=pytest.mark.long), "top5"])
@pytest.mark.parametrize(
    "options",
    [("features.cache=kept",), ("cam=cam,gradcam,scorecam", "faithfulness.images=3", "faithfulness.steps=2")],
    ids=["stored", "methods"],
)
def test_evaluation(fake_cuda, script, label, options):
    shapes = ("dataset=shapes", "dataset.per_class=5", "dataset.size=64", *ON_GPU, "trainer.max_steps=1")
    done = script("train.py", *shapes, "hydra.run.dir=run", "precision=32-true")
    assert done.code == 0, done.out + done.err
    assert "val/pointing" in json.loads(Path("run/summary.json").read_text())["final"]
    found = []
    for name, gpus in (("gpu", "null"), ("again", "null"), ("cpu", "0")):  # what the first has stored the second reads
        common = (f"label={label}", f"output={name}", f"gpus={gpus}", "num_workers=0", "sheet.images=0")
        done = script("evaluate.py", "ckpt=run/checkpoints/last.ckpt", *common, "precision=32-true", *options)
        assert done.code == 0, done.out + done.err
        methods = json.loads(Path(name, "metrics.json").read_text())["methods"]
        found.append({(name, key): one[key] for name, one in methods.items() for key in SMOOTH if key in one})
    assert len(found[0]) >= 2 and found[0] == found[1]
    assert found[0] == pytest.approx(found[2], rel=1e-2, abs=1e-3)
