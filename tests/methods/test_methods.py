"""torch-cam's methods agree with ours where they must, and averages are what they say."""

from __future__ import annotations

import re
import sys

import pytest
import torch

import camexp.methods
from camexp.cam.maps import upsample
from camexp.config import CAMOptions
from camexp.errors import UserError
from camexp.methods import METHODS, TORCHCAM, Averaged, TorchCAM, build_method
from camexp.models import CAMClassifier, Preprocessing
from tests.conftest import ROOT


@pytest.fixture
def model() -> CAMClassifier:
    torch.manual_seed(0)
    head = {"channels": 32, "init_std": 0.2}
    return CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 8, head=head).eval()


@pytest.mark.parametrize("name", ["gradcam", "xgradcam"])
def test_gradients_at_the_heads_activations_are_the_class_weights(model, name):
    images, labels = torch.randn(3, 3, 64, 96), torch.tensor([[0, 4], [1, 1], [5, 2]])
    ours = model.explain(images, labels).maps.clamp(min=0)
    theirs = TorchCAM(name)(model, images, labels).maps
    if name == "xgradcam":  # weighs by activation times gradient: no multiple of ours, but on the same grid
        assert theirs.shape == ours.shape
        return
    seen = ours.amax((2, 3)) > 0  # a network of random weights sees nothing at all of some class
    assert seen.sum() >= 3
    assert torch.equal(theirs.amax((2, 3)) > 0, seen)
    for a, b in zip(ours[seen], theirs[seen], strict=True):
        assert torch.allclose(a / a.max(), b / b.max(), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in TORCHCAM if name not in ("sscam", "iscam")])
def test_every_method_leaves_the_network_as_it_was(model, name):
    images = torch.randn(2, 3, 32, 32)
    before = model.explain(images, "top2")
    result = TorchCAM(name)(model, images, "top2")
    assert result.maps.shape == (2, 2, 2, 2) and torch.isfinite(result.maps).all()
    assert torch.equal(result.labels, before.labels) and torch.allclose(result.logits, before.logits, atol=1e-5)
    assert not any(module._forward_hooks or module._backward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(model.explain(images, "top2").maps, before.maps)


@pytest.mark.parametrize("name", ["gradcam", "layercam"])
def test_gradients_that_are_there_stay(model, name):
    """Maps may be made between a backward pass and its step."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    TorchCAM(name)(model, torch.randn(2, 3, 32, 32), "top2")
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in model.parameters())


def test_layers_of_a_frozen_trunk(model):
    model.freeze("trunk")
    images = torch.randn(1, 3, 64, 64)
    assert TorchCAM("layercam", "trunk.features.10")(model, images).maps.shape == (1, 1, 8, 8)
    several = TorchCAM("layercam", ["trunk.features.10", "trunk.features.18"])(model, images).maps
    assert several.shape == (1, 1, 8, 8)
    with pytest.raises(UserError, match="cam.layer=trunk.features.99 is no layer"):
        TorchCAM("layercam", "trunk.features.99")(model, images)


def test_flip_is_the_mean_of_both_views(model):
    images = torch.randn(2, 3, 64, 64)
    result = Averaged(CAMClassifier.explain, flip=True)(model, images, [[1], [2]])
    one = model.explain(images, [[1], [2]])
    other = model.explain(images.flip(-1), [[1], [2]])
    expected = (upsample(one.maps, (16, 16)) + upsample(other.maps, (16, 16)).flip(-1)) / 2
    assert torch.allclose(result.maps, expected, atol=1e-5)
    assert torch.allclose(result.logits, (one.logits + other.logits) / 2, atol=1e-5)


def test_one_view_is_the_method_itself(model):
    images = torch.randn(1, 3, 64, 96)
    result = Averaged(CAMClassifier.explain, scales=(1.0,))(model, images, "all")
    assert torch.allclose(result.maps, upsample(model.explain(images, "all").maps, (16, 24)), atol=1e-6)


def test_ten_crop_lays_every_crop_where_it_came_from():
    """With a 'method' that returns the brightness of what it sees, the average is the picture itself."""

    class Bright:
        device = torch.device("cpu")
        classes = ("a", "b")

        def explain(self, images, labels=None):
            return type("Result", (), {"logits": torch.zeros(len(images), 2), "maps": images.mean(1, keepdim=True)})

        def resolve_labels(self, labels, logits):
            return torch.zeros(len(logits), 1, dtype=torch.long)

    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    picture = ramp + 2 * ramp.transpose(-1, -2)
    bright = Bright()
    result = Averaged(lambda model, images, labels: bright.explain(images), ten_crop=True, scales=(1.0, 1.5))(
        bright, picture
    )
    expected = torch.nn.functional.avg_pool2d(picture.mean(1, keepdim=True), 4)
    assert (result.maps - expected).abs().max() < 0.05


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "gradcamm"}, "cam.method=gradcamm is not a method: did you mean gradcam"),
        ({"layer": "head"}, "cam.layer=head: cam weighs the head's activations"),
        ({"scales": []}, "cam.scales=\\[\\] is not a list"),
        ({"scales": 1.0}, "cam.scales=1.0 is not a list"),
        ({"scales": [9]}, "cam.scales=\\[9\\] is out of range"),
    ],
)
def test_bad_options(change, said):
    with pytest.raises(UserError, match=said):
        build_method(CAMOptions.read(change, "cam"))


def test_the_method_of_contributing_is_known_without_being_listed(model, tmp_path, monkeypatch):
    text = (ROOT / "docs/howto/own-method.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(# activations.py.*?)```", text, re.DOTALL)
    (tmp_path / "activations.py").write_text(example)
    monkeypatch.setattr(camexp.methods, "__path__", [*camexp.methods.__path__, str(tmp_path)])
    for registry, key in ((METHODS, "activations"), (sys.modules, "camexp.methods.activations")):
        monkeypatch.setitem(registry, key, None)  # forgotten again after the test
        del registry[key]
    images = torch.randn(2, 3, 64, 96)
    expected = model.activations(images).mean(1)
    for precision, error in (("32-true", 1e-6), ("bf16-mixed", 0.02), ("bf16-true", 0.02)):
        model.optimise_for("cpu", precision)
        result = build_method(CAMOptions(method="activations"))(model, images, "top2")
        assert (result.maps[:, 0] - expected).abs().max() < error * expected.max(), precision
        assert torch.equal(result.maps[:, 0], result.maps[:, 1]) and result.maps.dtype == torch.float32
    with pytest.raises(UserError, match="cam.layer=head: activations weighs the head's activations"):
        build_method(CAMOptions(method="activations", layer="head"))
    flipped = build_method(CAMOptions(method="activations", flip=True))(model, images, "top2")
    assert flipped.maps.shape == (2, 2, 16, 24)
