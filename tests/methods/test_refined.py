"""What is done to the maps of any method, against what it is made of."""

from __future__ import annotations

import pytest
import torch

from camexp.cam import average_over_alike
from camexp.config import CAMOptions
from camexp.errors import UserError
from camexp.methods import build_method, forward_pass, is_cam, of_pass, require_layers
from camexp.models import CAMClassifier, Preprocessing
from camexp.models.layers import finer_layer


def network(trunk: str = "vgg11", **options) -> CAMClassifier:
    torch.manual_seed(0)
    head = {"kind": "gap"} if "/" in trunk else {"channels": 32, "init_std": 0.2}
    width = 1.0 if "/" in trunk else 1 / 8
    return CAMClassifier(trunk, list("abcdef"), Preprocessing((64, 64)), width=width, head=head, **options).eval()


@pytest.fixture
def model() -> CAMClassifier:
    return network()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def test_positive_weights_alone(model, images):
    found = build_method(CAMOptions(negatives="clamp_weights"))(model, images, "top2")
    activations = model.head_activations(model.trunk_features(images)).detach()
    weights = model.head.linear.weight.detach()
    for image in range(3):
        for number, label in enumerate(found.labels[image].tolist()):
            positive = [max(0.0, float(one)) for one in weights[label]]
            expected = sum(w * one for w, one in zip(positive, activations[image], strict=True))
            assert torch.allclose(found.maps[image, number], expected, atol=1e-5)
    assert torch.equal(found.logits, model.explain(images).logits)


@pytest.mark.parametrize("name", ["cam", "pc1"])
def test_negative_values_become_zero(model, images, name):
    plain = build_method(CAMOptions(method=name))(model, images, "all").maps
    assert plain.min() < 0
    assert torch.equal(
        build_method(CAMOptions(method=name, negatives="clamp_map"))(model, images, "all").maps, plain.clamp(min=0)
    )


@pytest.mark.parametrize("name", ["cam", "pc1", "gradcam"])
@pytest.mark.parametrize("layer", ["conv4_2", "trunk.features.11", "auto"])
def test_affinity_in_a_layer(model, images, name, layer):
    if name == "gradcam":
        pytest.importorskip("torchcam")
    plain = build_method(CAMOptions(method=name))(model, images, [[0], [2], [1]])
    found = build_method(CAMOptions(method=name, affinity=layer))(model, images, [[0], [2], [1]])
    features = images
    for module in model.trunk.features[: 11 if layer == "trunk.features.11" else 15]:
        features = module(features)
    if layer == "trunk.features.11":
        features = model.trunk.features[11](features)
        features = features.relu()  # the network's own ReLU works in place
    assert torch.allclose(
        found.maps, average_over_alike(plain.maps, features.detach()), atol=1e-4 * plain.maps.abs().max()
    )
    assert torch.equal(found.labels, plain.labels) and torch.allclose(found.logits, plain.logits, atol=1e-6)
    assert found.maps.shape[-2:] == (8, 12)


def test_one_pass_does_for_all(model, images):
    methods = [
        build_method(CAMOptions(**one)) for one in ({"affinity": "conv4_2"}, {"method": "pc1", "affinity": "auto"})
    ]
    passes = [of_pass(method) for method in methods]
    layers = tuple(layer for one in passes for layer in one.layers(model))
    assert layers == ("conv4_2", "features.14")
    calls = []
    watch = model.trunk.register_forward_hook(lambda *_: calls.append(1))
    seen = forward_pass(model, images, layers)
    watch.remove()
    assert sum(calls) <= len(images)  # on a CPU it may be split
    for one, method in zip(passes, methods, strict=True):
        expected = method(model, images, "all").maps[[2, 0]]
        assert torch.allclose(one.of(model, seen.take([2, 0]), "all").maps, expected, atol=1e-5)


def test_many_images_in_threads_are_the_same_as_each_alone(model):
    images = torch.randn(9, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        together = model.trunk_outputs(images, ["conv4_2", "conv3_1"])
    finally:
        torch.set_num_threads(before)
    for number in range(9):
        for whole, alone in zip(
            together, model.trunk_outputs(images[number : number + 1], ["conv4_2", "conv3_1"]), strict=True
        ):
            assert torch.allclose(whole[number], alone[0], atol=1e-5)


def test_averaged_over_views(model, images):
    assert build_method(CAMOptions(affinity="auto", flip=True))(model, images, "top2").maps.shape == (3, 2, 16, 24)


def test_identity_is_claimed_of_cam_alone():
    assert is_cam(build_method(CAMOptions())) and is_cam(build_method(CAMOptions(normalise="ivr")))
    for changed in (
        {"negatives": "clamp_weights"},
        {"negatives": "clamp_map"},
        {"affinity": "auto"},
        {"method": "pc1"},
    ):
        assert not is_cam(build_method(CAMOptions(**changed)))


def test_what_does_not_fit_is_one_sentence(model):
    with pytest.raises(
        UserError, match=r"^cam.negatives=clamp_weights: pc1 does not weigh .*take cam=cam, or cam.negatives=clamp_map$"
    ):
        build_method(CAMOptions(method="pc1", negatives="clamp_weights"))
    with pytest.raises(UserError, match=r"^cam.affinity=conv4_9 is no layer of this trunk: did you mean conv4_2 "):
        require_layers(build_method(CAMOptions(affinity="conv4_9", flip=True)), model)
    with pytest.raises(UserError, match=r"^cam.percentile=50 is of cam.normalise=percentile and ivr, not of max"):
        CAMOptions.read({"normalise": "max", "percentile": 50}, "cam")


def test_the_finer_layer_of_networks_of_libraries():
    assert finer_layer(network("torchvision/resnet18").trunk) == "features.layer3"
    with pytest.raises(
        UserError, match=r"^cam.affinity=auto: no layer of this trunk has twice its output's resolution"
    ):
        finer_layer(torch_flat(), "cam.affinity=auto")


def torch_flat():
    from camexp.models import Trunk

    return Trunk(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, padding=1)), 4, 1, {})


def test_it_survives_compilation(model, images):
    """The hooks of a compiled trunk are not run by torch: its layers are read from the plain one."""
    expected = build_method(CAMOptions(affinity="auto"))(model, images, "all").maps
    model.trunk._compiled_call_impl = lambda *_: pytest.fail("compiled")
    try:
        assert torch.equal(build_method(CAMOptions(affinity="auto"))(model, images, "all").maps, expected)
    finally:
        model.trunk._compiled_call_impl = None
