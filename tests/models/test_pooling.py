"""Poolings against loops in float64, and what ties each head's maps to its logits."""

import copy
import math

import numpy as np
import pytest
import torch

from camexp import UserError
from camexp.config import CAMOptions, HeadOptions, ModelOptions
from camexp.methods import build_method
from camexp.models import CAMClassifier, Preprocessing, pooling
from camexp.models.head import build_head
from camexp.models.pooling import POOLS
from tests.models.heads import require_gradients_and_shared_batches

CLASSES = ["duck", "llama", "ibis", "ketch"]
HEADS = [(kind, pool) for kind in ("cam", "gap") for pool in POOLS]


def network(pool="gap", kind="cam", bias=False, **options):
    torch.manual_seed(0)
    wide = {"channels": 16} if kind == "cam" else {}
    head = {"kind": kind, "bias": bias, "init_std": 0.3, "pool": pool, **wide, **options}
    model = CAMClassifier("vgg11", CLASSES, Preprocessing((48, 64)), width=1 / 16, head=head).eval()
    if bias:
        torch.nn.init.normal_(model.head.linear.bias)
    return model


def loop(pool, places, parameter):
    """One channel's, or one class's, values in float64, a place at a time."""
    values = [float(value) for value in places]
    if pool == "tap":
        above = [value for value in values if value > parameter * max(values)]
        return sum(above) / len(above) if above else 0.0
    if pool == "gem":
        return (sum(max(value, 1e-6) ** parameter for value in values) / len(values)) ** (1 / parameter)
    if pool == "lse":
        return math.log(sum(math.exp(parameter * value) for value in values) / len(values)) / parameter
    return sum(values) / len(values)


@pytest.mark.parametrize(
    ("pool", "function", "parameters"),
    [
        ("gap", lambda x, _: pooling.average_pool(x), [0]),
        ("tap", pooling.thresholded_average_pool, [0.0, 0.1, 0.7]),
        ("gem", pooling.generalised_mean_pool, [1.0, 3.0, 7.5]),
        ("lse", pooling.log_sum_exp_pool, [0.01, 1.0, 5.0]),
    ],
)
def test_poolings_are_their_formulas(pool, function, parameters):
    values = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values[0, 0] = 0
    values[1, 1] = -values[1, 1].abs()
    for parameter in parameters:
        found = function(values, parameter)
        expected = [[loop(pool, channel.flatten(), parameter) for channel in image] for image in values]
        assert found.dtype == torch.float64
        assert np.allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)
        for half in (torch.float16, torch.bfloat16):
            assert function(values.to(half), parameter).dtype == torch.float32


@pytest.mark.parametrize("gated", [False, True])
def test_attention_is_its_formula(gated):
    random = np.random.default_rng(2)
    features, v, u, w = (random.normal(size=size) for size in ((2, 5, 3, 4), (7, 5), (7, 5), (7,)))
    found = pooling.attention(*map(torch.from_numpy, (features, v, w)), torch.from_numpy(u) if gated else None)
    for image in range(2):
        scores = np.zeros((3, 4))
        for y, x in np.ndindex(3, 4):
            place = features[image, :, y, x]
            gate = 1 / (1 + np.exp(-u @ place)) if gated else 1.0
            scores[y, x] = w @ (np.tanh(v @ place) * gate)
        shares = np.exp(scores) / np.exp(scores).sum()
        assert np.allclose(found[image], shares, rtol=1e-12)
        pooled = pooling.attention_pool(torch.from_numpy(features[image : image + 1]), found[image : image + 1])
        assert np.allclose(pooled[0], (features[image] * shares).sum((1, 2)), rtol=1e-12)


def test_no_power_and_no_exponential_leaves_float32():
    values = torch.tensor([[[[3e30, 1e30]]]])
    assert pooling.generalised_mean_pool(values, 100.0).item() == pytest.approx(3e30 * 0.5**0.01, rel=1e-5)
    assert pooling.log_sum_exp_pool(torch.tensor([[[[5000.0, -5000.0]]]]), 1000.0).item() == pytest.approx(
        5000, abs=0.1
    )
    quiet = torch.zeros(1, 2, 3, 3, requires_grad=True)  # a dead channel has a gradient of numbers
    for function in (pooling.thresholded_average_pool, pooling.generalised_mean_pool, pooling.log_sum_exp_pool):
        (gradient,) = torch.autograd.grad(function(quiet).sum(), quiet)
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("kind", "pool"), HEADS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (75, 131)])
def test_what_ties_a_map_to_its_logit(kind, pool, bias, size):
    model = network(pool, kind, bias).double()
    images = torch.randn(2, 3, *size, dtype=torch.float64)
    result, activations = model.explain(images, "all"), model.activations(images).detach()
    head = model.head
    # of float64 activations, as the logits are given in float32
    maps = torch.einsum("ck,bkhw->bchw", head.linear.weight, activations).detach()
    logits = result.logits.double() - (head.linear.bias.detach() if bias else 0)
    means = maps.mean((2, 3))
    assert torch.allclose(result.maps.double(), maps, atol=1e-5)
    assert head.mean_is_logit == (pool == "gap" and not bias)
    assert ("less the bias" in head.tie) == (bias and pool in ("gap", "lse", "attention"))
    if pool == "gap":
        assert torch.allclose(means, logits, atol=1e-5)
        return
    places = maps.shape[2] * maps.shape[3]
    assert torch.allclose(means, logits, atol=1e-7) == (places == 0)  # never, with more than one place
    if pool == "attention":
        assert torch.allclose((maps * head.shares(activations)[:, None]).sum((2, 3)), logits, atol=1e-5)
    elif pool == "lse":
        expected = torch.tensor([[loop("lse", cam.flatten(), head.lse_r) for cam in image] for image in maps])
        assert torch.allclose(expected.double(), logits, atol=1e-5)
    else:
        weights, average = head.linear.weight.detach().abs(), activations.mean((2, 3))
        pooled = head.pooled(activations).detach()
        if pool == "tap":
            threshold = head.tap_threshold * activations.amax((2, 3), keepdim=True)
            bound = ((1 - (activations > threshold).double().mean((2, 3))) * pooled) @ weights.T
        else:
            bound = (places ** (1 - 1 / head.gem_p) - 1) * (average @ weights.T) + 1e-5
        assert ((logits - means).abs() <= bound + 1e-6).all()


def test_global_average_pooling_is_what_it_was():
    model = network()
    activations = model.activations(torch.randn(2, 3, 64, 64))
    with torch.no_grad():
        assert torch.equal(model.head(activations), activations.mean((2, 3)) @ model.head.linear.weight.T)
    assert list(model.head.state_dict()) == ["conv_cam.weight", "conv_cam.bias", "linear.weight"]
    assert list(build_head(8, 3, "gap").state_dict()) == ["linear.weight", "linear.bias"]
    for pool in POOLS:  # the same start, whatever the pooling draws besides
        assert torch.equal(network(pool).head.linear.weight, model.head.linear.weight)


@pytest.mark.parametrize(("kind", "pool"), HEADS)
def test_every_weight_has_a_gradient_and_dropout_is_drawn_for_the_whole_batch(kind, pool):
    require_gradients_and_shared_batches(network(pool, kind, dropout=0.5, attention_gated=True).train().head)


@pytest.mark.parametrize("pool", POOLS)
def test_half_precision_pools_in_float32(pool):
    model = network(pool, attention_gated=True)
    with torch.autocast("cpu", torch.bfloat16):
        activations = model.activations(torch.randn(2, 3, 64, 64))
        logits = model.head(activations)
    assert activations.dtype == torch.bfloat16 and logits.dtype == torch.float32
    exact = copy.deepcopy(model.head).double()(activations.double())
    assert torch.allclose(logits.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize(
    "options",
    [{"method": "pc1"}, {"affinity": "auto"}, {"negatives": "clamp_weights"}, {"method": "gradcam"}, {"flip": True}],
    ids=str,
)
def test_every_method_goes_with_every_pool(pool, options):
    model, images = network(pool), torch.randn(2, 3, 64, 64)
    result = build_method(CAMOptions(**options))(model, images, "all")
    assert result.maps.isfinite().all() and result.maps.shape[:2] == (2, 4)
    logits = model.explain(images).logits
    assert options.get("flip") or torch.allclose(result.logits, logits, atol=1e-5)


def test_even_attention_is_global_average_pooling():
    model, images = network("gap"), torch.randn(1, 3, 64, 64)
    even = network("attention")
    even.load_state_dict(model.state_dict(), strict=False)
    torch.nn.init.zeros_(even.head.attention["w"].weight)
    assert torch.allclose(even(images), model(images), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pool": "max"}, "model.head.pool=max is not known: expected one of gap, tap, lse, gem, attention"),
        ({"tap_threshold": 0.2}, "model.head.tap_threshold=0.2 is of model.head.pool=tap, not of gap"),
        ({"pool": "lse", "gem_p": 2.0}, "model.head.gem_p=2.0 is of model.head.pool=gem, not of lse"),
        ({"pool": "tap", "tap_threshold": 1.0}, "model.head.tap_threshold=1.0 is out of range"),
        ({"pool": "gap", "attention_gated": True}, "model.head.attention_gated=true is of model.head.pool=attention"),
    ],
)
def test_what_does_not_fit_is_said(given, said):
    with pytest.raises(UserError) as caught:
        ModelOptions.read({"head": given}, "model")
    assert said in str(caught.value)
    assert HeadOptions.read({"pool": "tap", "tap_threshold": 0.2}).tap_threshold == 0.2
