"""The exported graphs, at sizes that the export itself did not check."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

import camexp
from camexp.errors import UserError
from camexp.export.check import Compared, check_inputs, compare, require_equal
from camexp.export.graph import CAMGraph
from camexp.export.onnx import onnx_runner
from camexp.export.resize import PillowResize
from tests.export.conftest import CLASSES, export, network, write_checkpoint

SIZES = [(1, 3, 64, 64), (4, 3, 97, 203), (2, 3, 130, 75)]
NETWORKS = {
    "vgg11": {"trunk": "vgg11"},
    "vgg11_bn": {},
    **{
        f"{pool} pooling": {"trunk": "vgg11", "head": {"channels": 8, "init_std": 0.3, "pool": pool}}
        for pool in ("tap", "lse", "gem", "attention")
    },
    "cells, normalised": {
        "trunk": "vgg11", "head": {"channels": 8, "init_std": 0.3, "cells": 3, "power": 0.5, "norm": 10.0},
    },
    "resnet50, gap, output stride 16": {
        "trunk": "torchvision/resnet50", "head": {"kind": "gap", "bias": True, "init_std": 0.3}, "output_stride": 16,
    },
    "timm resnet10t": {"trunk": "timm/resnet10t"},
    "two layers": {"trunk": "vgg11", "out_layers": ["conv4_2", "conv5_2"]},
    "vit": {"trunk": "timm/test_vit", "head": {"kind": "gap", "init_std": 0.3}, "out_layers": ["blocks.1", "norm"]},
    "timm convnext_atto, gap": {"trunk": "timm/convnext_atto", "head": {"kind": "gap", "init_std": 0.3}},
}  # fmt: skip


def session(folder):
    return onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def assert_close(found, expected, tolerance=1e-4):
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected.numpy()).max() <= tolerance * float(expected.abs().max())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.long if "resnet50" in name else pytest.mark.slow) for name in NETWORKS],
)
def test_onnx_says_what_the_checkpoint_says(name, tmp_path):
    ckpt = write_checkpoint(tmp_path / "a.ckpt", network(**NETWORKS[name]))
    export(ckpt, tmp_path / "out", "onnx")
    model, run = camexp.load(ckpt, "cpu", "32-true"), session(tmp_path / "out")
    for shape in SIZES:
        images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        expected = model.explain(images, "all")
        logits, maps = run.run(None, {"image": images.numpy()})
        assert_close(logits, expected.logits)
        assert_close(maps, expected.maps)


@pytest.mark.slow
def test_the_top_maps_with_preprocessing_inside(ckpt, tmp_path):
    export(ckpt, tmp_path / "out", "onnx", maps="top2", preprocessing=True)
    model, run = camexp.load(ckpt, "cpu", "32-true"), session(tmp_path / "out")
    assert [(one.name, one.type, one.shape) for one in run.get_inputs()] == [
        ("image", "tensor(uint8)", ["batch", 3, "height", "width"])
    ]
    assert [(one.name, one.shape[0]) for one in run.get_outputs()] == [
        ("logits", "batch"), ("maps", "batch"), ("labels", "batch"),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    for height, width in ((200, 31), (33, 300), (64, 96), (500, 90)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        expected = model.explain(model.preprocess(Image.fromarray(pixels))[None], "top2")
        logits, maps, labels = run.run(None, {"image": pixels.transpose(2, 0, 1)[None]})
        assert_close(logits, expected.logits)
        assert_close(maps, expected.maps)
        assert labels.tolist() == expected.labels.tolist()


def test_the_metadata_is_enough_to_use_it(ckpt, tmp_path):
    export(ckpt, tmp_path / "out", "onnx", license="cc-by-4.0")
    about = session(tmp_path / "out").get_modelmeta().custom_metadata_map
    assert tuple(json.loads(about["classes"])) == CLASSES
    assert json.loads(about["preprocessing"]) == camexp.load(ckpt, "cpu").preprocessing.to_dict()
    assert about["license"] == "cc-by-4.0" and about["maps"] == "all"
    assert len(json.loads(about["checked"])) == 3
    assert "secret" not in json.dumps(about)
    onnx.checker.check_model(onnx.load(tmp_path / "out" / "model.onnx"), full_check=True)


RELOAD = """
import json, sys, numpy as np, torch
files = {"camexp.json": ""}
module = torch.export.load(sys.argv[1], extra_files=files).module()
for number in range(3):
    outputs = module(torch.from_numpy(np.load(f"{sys.argv[2]}/in{number}.npy")))
    np.savez(f"{sys.argv[2]}/out{number}.npz", *(one.numpy() for one in outputs))
print(json.dumps(json.loads(files["camexp.json"])["classes"]))
assert "camexp" not in sys.modules
"""


@pytest.mark.slow
def test_torch_export_in_a_fresh_process(ckpt, tmp_path):
    """One that does not have camexp."""
    export(ckpt, tmp_path / "out", "torch_export", maps="top3")
    model = camexp.load(ckpt, "cpu", "32-true")
    batches = [torch.randn(shape, generator=torch.Generator().manual_seed(1)) for shape in SIZES]
    for number, batch in enumerate(batches):
        np.save(tmp_path / f"in{number}.npy", batch.numpy())
    done = subprocess.run(
        [sys.executable, "-c", RELOAD, str(tmp_path / "out" / "model.pt2"), str(tmp_path)],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert tuple(json.loads(done.stdout)) == CLASSES
    for number, batch in enumerate(batches):
        expected = model.explain(batch, "top3")
        with np.load(tmp_path / f"out{number}.npz") as found:
            assert_close(found["arr_0"], expected.logits)
            assert_close(found["arr_1"], expected.maps)
            assert (found["arr_2"] == expected.labels.numpy()).all()


def test_the_check_finds_a_weight_that_is_off(ckpt, tmp_path):
    """By a thousandth: a check that cannot fail is none."""
    export(ckpt, tmp_path / "out", "onnx")
    model = camexp.load(ckpt, "cpu", "32-true")
    batches = check_inputs((64, 96), preprocessing=False)
    require_equal(compare(onnx_runner(tmp_path / "out" / "model.onnx"), model, batches), "onnx")
    perturbed = onnx.load(tmp_path / "out" / "model.onnx")
    [linear] = [one for one in perturbed.graph.initializer if one.name.endswith("head.linear.weight")]
    values = onnx.numpy_helper.to_array(linear) * np.float32(1.001)
    linear.CopyFrom(onnx.numpy_helper.from_array(values, linear.name))
    onnx.save(perturbed, tmp_path / "perturbed.onnx")
    compared = compare(onnx_runner(tmp_path / "perturbed.onnx"), model, batches)
    with pytest.raises(UserError, match="differs from the checkpoint.*nothing was written"):
        require_equal(compared, "onnx")
    with pytest.raises(UserError, match="differs from the checkpoint"):
        require_equal([Compared((1, 3, 64, 64), float("nan"), 0.0)], "onnx")


def test_a_failed_check_leaves_nothing(ckpt, tmp_path, monkeypatch):
    from camexp.export import run

    original = run.CAMGraph

    def off_by_a_little(model, *options):
        with torch.no_grad():
            model.head.linear.weight.mul_(1.001)
        return original(model, *options)

    monkeypatch.setattr(run, "CAMGraph", off_by_a_little)
    for to in ("onnx", "torch_export"):
        with pytest.raises(UserError, match=f"to={to}: what was exported differs"):
            export(ckpt, tmp_path / "out", to)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_labels_that_are_not_the_top_ones_are_found():
    model = network()
    graph = CAMGraph(network(), top=2)

    def lowest(images):
        logits, maps, _ = graph(torch.from_numpy(images))
        return {"logits": logits.numpy(), "maps": maps.numpy(), "labels": logits.argsort(1)[:, :2].numpy()}

    with pytest.raises(UserError, match="labels are not the highest"):
        compare(lowest, model, check_inputs((64, 96), preprocessing=False))


def test_more_maps_than_classes():
    with pytest.raises(UserError, match="top4 asks for more maps than there are classes"):
        CAMGraph(network(), top=4)


@pytest.mark.parametrize("kind", ["noise", "black and white"])
def test_the_resize_is_pillows_to_the_last_bit(kind):
    rng = np.random.default_rng(0)
    for number in range(60):
        height, width, high, wide = (int(one) for one in rng.integers(1, 300, 4))
        if number % 5 == 0:
            high, wide = max(1, height // 2), width  # halves, which are rounded
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        if kind == "black and white":
            pixels = 255 * (pixels > 127).astype(np.uint8)
        theirs = np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR))
        ours = PillowResize(high, wide)(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        assert np.array_equal(ours.numpy(), theirs), (height, width, high, wide)
