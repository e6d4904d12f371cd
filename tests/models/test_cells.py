"""Cells and normalisation of a head: against loops in float64, and the mean of a map is still its logit."""

import copy

import numpy as np
import pytest
import torch
from scipy.interpolate import RegularGridInterpolator

from camexp import UserError
from camexp.config import CAMOptions, ModelOptions
from camexp.methods import build_method
from camexp.models import CAMClassifier, Preprocessing, pooling
from camexp.models.cells import in_cells
from camexp.models.head import build_head
from tests.models.heads import require_gradients_and_shared_batches

CLASSES = ["duck", "llama", "ibis", "ketch"]
OPTIONS = [{"cells": 3}, {"power": 0.5}, {"norm": 10.0}, {"cells": 2, "power": 0.4, "norm": 3.0}]


def network(kind="cam", bias=False, **options):
    torch.manual_seed(0)
    wide = {"channels": 16} if kind == "cam" else {}
    head = {"kind": kind, "bias": bias, "init_std": 0.3, **wide, **options}
    return CAMClassifier("vgg11", CLASSES, Preprocessing((48, 64)), width=1 / 16, head=head).eval()


@pytest.mark.parametrize(("size", "cells"), [((14, 14), 3), ((5, 9), 2), ((2, 3), 4), ((1, 1), 3)])
def test_class_weights_are_interpolated_between_cells(size, cells):
    """A map against SciPy's bilinear interpolation of the cells' weights; beyond the outer middles they are constant."""
    random = np.random.default_rng(0)
    activations, weights = random.normal(size=(2, 3, *size)), random.normal(size=(cells, cells, 3))
    apart = in_cells(torch.from_numpy(activations), cells)
    found = np.einsum("d,bdhw->bhw", weights.reshape(-1), apart.numpy())
    middles = (np.arange(cells) + 0.5) / cells
    between = RegularGridInterpolator((middles, middles), weights)
    for y, x in np.ndindex(*size):
        at = [np.clip((place + 0.5) / side, middles[0], middles[-1]) for place, side in zip((y, x), size, strict=True)]
        assert np.allclose(found[:, y, x], activations[:, :, y, x] @ between(at)[0], atol=1e-12)


def test_one_cell_is_none():
    activations = torch.rand(2, 3, 4, 5)
    assert torch.equal(in_cells(activations, 1), activations)


@pytest.mark.parametrize("power", [1.0, 0.5, 0.3])
@pytest.mark.parametrize("norm", [None, 7.0])
def test_means_are_normalised(power, norm):
    activations = np.random.default_rng(1).normal(size=(2, 6, 3, 4))
    activations[1, 2] = 0  # a channel that is dead
    means = pooling.normalised(torch.from_numpy(activations), power, norm).mean((2, 3)).numpy()
    for image, found in zip(activations, means, strict=True):
        plain = image.mean((1, 2))
        expected = np.sign(plain) * np.abs(plain) ** power
        assert np.allclose(found, expected if norm is None else norm * expected / np.sqrt((expected**2).sum()))
    dark = torch.zeros(1, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(pooling.normalised(dark, power, norm).sum(), dark)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("kind", ["cam", "gap"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("size", [(48, 64), (75, 131)])
def test_the_mean_of_a_map_is_its_logit(kind, bias, options, size):
    model = network(kind, bias, **options)
    result = model.explain(torch.randn(2, 3, *size), "all")
    less = model.head.linear.bias.detach() if bias else 0
    assert torch.allclose(result.maps.mean((2, 3)), result.logits - less, atol=1e-4)
    assert model.head.mean_is_logit == (not bias) and model.head.tie.startswith(
        "The mean of a map is its class's logit"
    )


@pytest.mark.parametrize("kind", ["cam", "gap"])
@pytest.mark.parametrize("options", [{}, *OPTIONS], ids=str)
@pytest.mark.parametrize("autocast", [False, True])
def test_logits_without_maps_are_those_with_them(kind, options, autocast):
    head = network(kind, bias=True, **options).head.train()
    features = torch.rand(3, 32, 5, 7)
    found = []
    for way in (lambda: head(head.activations(features)), lambda: head.from_features(features)):
        head.zero_grad()
        torch.manual_seed(3)  # of dropout
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = way()
        logits.square().sum().backward()
        found.append([logits.detach(), *(parameter.grad.clone() for parameter in head.parameters())])
    for one, other in zip(*found, strict=True):
        assert one.dtype == other.dtype == torch.float32
        # of bfloat16 activations the scaled ones are rounded once more
        assert torch.allclose(one, other, rtol=1e-5, atol=(2e-2 if autocast else 1e-5) * float(one.abs().max()))
        assert options or torch.equal(one, other)


@pytest.mark.parametrize("kind", ["cam", "gap"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_pools_in_float32(kind, dtype):
    model = network(kind, **OPTIONS[-1])
    with torch.autocast("cpu", dtype):
        activations = model.activations(torch.randn(2, 3, 64, 64))
        logits = model.head(activations)
    assert logits.dtype == torch.float32
    exact = copy.deepcopy(model.head).double()(activations.double())
    assert torch.allclose(logits.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["cam", "gap"])
def test_every_weight_has_a_gradient_and_an_image_does_not_depend_on_its_batch(kind):
    require_gradients_and_shared_batches(network(kind, dropout=0.5, **OPTIONS[-1]).train().head)


@pytest.mark.parametrize(
    "options",
    [{"method": "pc1"}, {"affinity": "auto"}, {"negatives": "clamp_weights"}, {"method": "gradcam"}, {"flip": True}],
    ids=str,
)
def test_every_method_goes_with_them(options):
    model, images = network(**OPTIONS[-1]), torch.randn(2, 3, 64, 64)
    result = build_method(CAMOptions(**options))(model, images, "all")
    assert result.maps.isfinite().all() and result.maps.shape[:2] == (2, 4)


def test_the_head_is_what_it_was_without_them():
    plain, same = build_head(8, 3, channels=4), build_head(8, 3, channels=4, cells=1, power=1.0, norm=None)
    same.load_state_dict(plain.state_dict())
    features = torch.rand(2, 8, 5, 5)
    assert torch.equal(same.activations(features), plain.activation(plain.conv_cam(features)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"cells": 0}, "model.head.cells=0 is out of range: expected a whole number from 1 to 16"),
        ({"power": 2}, "model.head.power=2 is out of range: expected a number from 0.1 to 1"),
        ({"norm": 0}, "model.head.norm=0 is out of range: expected null or a number from 0.001 to 10000"),
        ({"pool": "lse", "cells": 3}, "model.head.cells=3 is of model.head.pool=gap, not of lse"),
        ({"pool": "tap", "norm": 10.0}, "model.head.norm=10.0 is of model.head.pool=gap, not of tap"),
    ],
)
def test_what_does_not_fit_is_one_sentence(given, said):
    with pytest.raises(UserError) as caught:
        ModelOptions.read({"head": given}, "model")
    assert said in str(caught.value) and "\n" not in str(caught.value)
