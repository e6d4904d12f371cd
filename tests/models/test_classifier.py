"""The identity of CAM, and agreement with an independent implementation."""

import numpy as np
import pytest
import torch
from torch import nn

from camexp import UserError
from camexp.models import CAMClassifier, CAMHead, Preprocessing

CLASSES = ["duck", "llama", "7", "dolphin", "ibis", "ketch"]


def network(bias=False, seed=0):
    torch.manual_seed(seed)
    head = {"channels": 16, "bias": bias, "init_std": 0.1}
    model = CAMClassifier("vgg11", CLASSES, Preprocessing((48, 64)), width=1 / 16, head=head).eval()
    if bias:
        nn.init.normal_(model.head.linear.bias)
    return model


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (224, 224), (75, 131)])
def test_the_mean_of_a_map_is_the_logit(bias, size):
    model = network(bias)
    result = model.explain(torch.randn(3, 3, *size), "all")
    offset = model.head.linear.bias.detach() if bias else 0
    assert torch.allclose(result.maps.mean((2, 3)) + offset, result.logits, rtol=1e-5, atol=1e-6)
    assert result.maps.shape == (3, len(CLASSES), size[0] // 16, size[1] // 16)


def test_maps_match_a_float64_loop():
    model = network()
    images = torch.randn(2, 3, 48, 64)
    maps = model.explain(images, "all").maps.numpy()
    with torch.no_grad():
        activations = model.activations(images).double().numpy()
    weights = model.head.linear.weight.detach().double().numpy()
    expected = np.zeros(maps.shape)
    for image, label, unit in np.ndindex(2, len(CLASSES), 16):
        expected[image, label] += weights[label, unit] * activations[image, unit]
    assert np.abs(maps - expected).max() < 1e-6 * max(1, np.abs(expected).max())


def test_maps_match_torchcam():
    """torch-cam hooks modules, so it is given the same weights as a plain Sequential."""
    from torchcam.methods import CAM

    model = network()
    plain = nn.Sequential(
        model.trunk.features, model.head.conv_cam, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), model.head.linear
    )
    image = torch.randn(1, 3, 96, 64)
    extractor = CAM(plain, target_layer=plain[2], fc_layer=plain[5])
    logits = plain(image)
    ours = model.explain(image, "all")
    assert torch.allclose(ours.logits, logits.detach(), atol=1e-6)
    for label in range(len(CLASSES)):
        theirs = extractor(label, logits, normalized=False)[0]
        assert torch.allclose(ours.maps[:, label], theirs.detach(), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("llama", [[1], [1]]),
        (3, [[3], [3]]),
        ("7", [[2], [2]]),  # a name that looks like a number is a name first
        ("4", [[4], [4]]),
        ([3, "duck"], [[3, 0], [3, 0]]),
        ([["duck"], ["ketch"]], [[0], [5]]),
        (torch.tensor([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ("all", [[0, 1, 2, 3, 4, 5]] * 2),
    ],
)
def test_labels(labels, expected):
    result = network().explain(torch.randn(2, 3, 32, 32), labels)
    assert result.labels.tolist() == expected
    assert result.maps.shape[:2] == result.labels.shape


def test_predicted_and_top_follow_the_logits():
    model, images = network(), torch.randn(4, 3, 32, 32)
    logits = model(images)
    assert torch.equal(model.explain(images).labels[:, 0], logits.argmax(1))
    assert torch.equal(model.explain(images, "top3").labels, logits.topk(3).indices)
    assert model.explain(images, "top50").labels.shape == (4, len(CLASSES))


def test_chosen_maps_are_those_of_all():
    model, images = network(), torch.randn(2, 3, 64, 64)
    everything = model.explain(images, "all").maps
    chosen = model.explain(images, [[0, 5], [3, 3]]).maps
    assert torch.allclose(chosen[0], everything[0, [0, 5]], atol=1e-6)
    assert torch.allclose(chosen[1], everything[1, [3, 3]], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("lama", "did you mean llama"),
        (6, "expected 0 to 5"),
        (-1, "expected 0 to 5"),
        ([], "asks for no map"),
        ([["duck"]], "do not fit a batch of 2"),
        ([["duck"], ["duck", "llama"]], "do not fit"),
    ],
)
def test_wrong_labels(labels, said):
    with pytest.raises(UserError, match=said):
        network().explain(torch.randn(2, 3, 32, 32), labels)


def test_frozen_batch_norm_does_not_move():
    model = CAMClassifier("vgg11_bn", CLASSES, Preprocessing((32, 32)), width=1 / 16)
    model.freeze("conv3_1")
    model.train()
    before = {key: value.clone() for key, value in model.trunk.state_dict().items() if "running" in key}
    model(torch.randn(4, 3, 32, 32))
    frozen = {name: model.trunk.layers[name][1] for name in ("conv1_1", "conv2_1")}
    for key, value in model.trunk.state_dict().items():
        if "running_mean" in key:
            index = int(key.split(".")[1])
            is_frozen = any(model.trunk.features[index] is norm for norm in frozen.values())
            assert torch.equal(value, before[key]) == is_frozen


@pytest.mark.parametrize("size", [(224, 224), (100, 130), (32, 48)])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_batch_in_parts_is_the_batch(size, count):
    torch.manual_seed(0)
    model = CAMClassifier("vgg11_bn", ["a", "b"], Preprocessing(size), width=1 / 16).eval()
    images = torch.randn(count, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(model.trunk_features(images), model.trunk(images), rtol=1e-4, atol=1e-5)
    model.train()  # nothing is frozen: a batch norm sees the batch as a whole
    if count > 1:
        seen = []
        model.trunk.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))
        model.trunk_features(images)
        assert seen == [count]


def test_head_starts_from_a_truncated_normal_and_its_penalty_is_half_the_square():
    torch.manual_seed(0)
    head = CAMHead(64, 10, channels=64, l2=0.01)
    weights = head.conv_cam.weight.detach()
    assert weights.abs().max() <= 0.02
    assert weights.std() == pytest.approx(0.0088, rel=0.02)  # σ of a normal of 0.01 cut at 2σ
    assert head.linear.bias is None
    total = sum(float((w.detach().double() ** 2).sum()) for w in (head.conv_cam.weight, head.linear.weight))
    assert float(head.l2_penalty().detach()) == pytest.approx(0.01 * 0.5 * total, rel=1e-5)
