"""8-bit graphs: that they are 8-bit, and close."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import camexp
from camexp.errors import UserError
from camexp.export.onnx import onnx_runner
from camexp.images import read_image
from tests.export.conftest import export, network, write_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("preprocessing", [False, True])
def test_it_is_8_bit_and_close(ckpt, colours, tmp_path, preprocessing):
    (colours / "red" / "broken.png").write_bytes(b"no image")  # is left out
    options = {"int8": True, "calibration": str(colours), "preprocessing": preprocessing}
    exported = export(ckpt, tmp_path / "out", "onnx", **options)
    graph = onnx.load(tmp_path / "out" / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    dequantised = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    exact = [node for node in convolutions if node.input[1] not in dequantised]
    assert "QuantizeLinear" in kinds and len(convolutions) == 10  # eight of VGG-11, the head's, the maps
    assert len(exact) == 1 and "maps" in exact[0].output  # the classes' weights stay in float32
    assert (tmp_path / "out" / "model.onnx").stat().st_size < 0.6 * ckpt.stat().st_size

    model, run = camexp.load(ckpt, "cpu", "32-true"), onnx_runner(tmp_path / "out" / "model.onnx")
    for path in sorted((colours / "blue").glob("*.png"))[:4]:
        image = read_image(path)
        x = model.preprocess(image)[None].numpy()
        expected = model.explain(model.preprocess(image)[None], "all")
        found = run(np.asarray(image).transpose(2, 0, 1)[None] if preprocessing else x)
        scale = float(expected.maps.abs().max())
        difference = np.abs(found["maps"] - expected.maps.numpy()).max() / scale
        assert 0 < difference < 0.05, difference
        assert found["logits"].argmax() == int(expected.logits.argmax())

    assert exported.quantised.images == 24 and exported.quantised.agreement >= 0.9
    assert exported.quantised.correlation > 0.99
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "8-bit: calibrated on 24 images" in card and "before it was made 8-bit" in card
    props = {one.key: one.value for one in onnx.load(tmp_path / "out" / "model.onnx").metadata_props}
    assert "8-bit: calibrated on 24 images" in props["int8"] and len(json.loads(props["classes"])) == 3


@pytest.mark.slow
def test_generalised_means_stay_in_float32(colours, tmp_path):
    """Their smallest value, 10⁻⁶, would be 0 in 8 bits, and a channel of zeros no number."""
    ckpt = write_checkpoint(tmp_path / "a.ckpt", network("vgg11", head={"channels": 8, "init_std": 0.3, "pool": "gem"}))
    exported = export(ckpt, tmp_path / "out", "onnx", int8=True, calibration=str(colours))
    assert exported.quantised.agreement >= 0.9 and exported.quantised.correlation > 0.99


def test_calibration_images_that_cannot_be_read(ckpt, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(b"no image")
    with pytest.raises(UserError, match="none of 2 images can be read"):
        export(ckpt, tmp_path / "out", "onnx", int8=True, calibration=str(tmp_path / "images"))
    assert not (tmp_path / "out").exists()
