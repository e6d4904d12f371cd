"""3×3 convolutions in fewer multiplications: as exact as the library's own, and only where nothing trains."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from camexp.models import convolution
from camexp.models.convolution import Conv3x3, convolve, use_winograd
from camexp.models.winograd import convolve_transformed, transform_images, transform_weights, weight_gradient
from camexp.precision import autocast

SIZES = [(1, 14, 14), (2, 7, 9), (3, 1, 1), (1, 28, 5), (2, 2, 3)]


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch):
    monkeypatch.setattr(convolution, "winograd_is_faster", lambda dtype: dtype in (torch.float32, torch.bfloat16))


def layer(channels: int = 128, out: int = 160) -> Conv3x3:
    torch.manual_seed(0)
    return Conv3x3(channels, out).to(memory_format=torch.channels_last)


def relative_error(found, exact) -> float:
    return float((found.double() - exact).norm() / exact.norm())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_convolution(size, bias):
    images, weight = torch.randn(size[0], 6, *size[1:]).double(), torch.randn(10, 6, 3, 3).double()
    added = torch.randn(10).double() if bias else None
    expected = F.conv2d(images, weight, added, padding=1)
    found = convolve_transformed(images, transform_weights(weight, torch.float64), added)
    assert found.shape == expected.shape and found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13 * float(expected.abs().max()) * 10)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 10), (torch.bfloat16, 1)])
def test_rounding(dtype, bound):
    """Sums are in float32 in both; in bfloat16 what goes into the products and what comes out is rounded once or twice."""
    images, weight = torch.randn(2, 256, 14, 14).relu().to(dtype), torch.randn(256, 256, 3, 3) / 48
    exact = F.conv2d(images.double(), weight.double(), padding=1)
    found = convolve_transformed(images, transform_weights(weight, dtype))
    assert relative_error(found, exact) < bound * torch.finfo(dtype).eps


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_of_the_weights(size):
    images, weight = torch.randn(size[0], 6, *size[1:]).double(), torch.randn(10, 6, 3, 3).double().requires_grad_()
    gradient = torch.randn(size[0], 10, *size[1:]).double()
    (expected,) = torch.autograd.grad(F.conv2d(images, weight, padding=1), weight, gradient)
    found = weight_gradient(transform_images(images), gradient)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_on_fixed_features_it_trains_as_the_library_does(precision):
    features = torch.randn(4, 128, 28, 28).relu()
    gradients = []
    for way in (lambda layer: convolve(layer, features), lambda layer: nn.Conv2d.forward(layer, features)):
        conv = layer()
        with autocast(precision, "cpu"):
            out = way(conv)
        (out.float().sigmoid().mean((2, 3)) @ torch.linspace(-1, 1, 160)).square().sum().backward()
        gradients.append((conv.weight.grad, conv.bias.grad))
    name = type(convolve(conv, features).grad_fn).__name__
    assert name == "_WinogradConvBackward"
    for found, expected in zip(*gradients, strict=True):
        assert found.dtype == torch.float32
        assert relative_error(found, expected.double()) < (1e-5 if precision == "32-true" else 2e-2)


def taken(conv: Conv3x3, images) -> bool:
    conv._kept = None
    conv(images)
    return conv._kept is not None


def test_where_it_is_taken():
    conv, images = layer(), torch.rand(1, 128, 8, 8)
    assert not taken(conv, images)  # its weights would need a gradient
    with torch.no_grad():
        assert taken(conv, images)
        assert not taken(conv, images[..., :4, :6])  # 6 tiles
        assert not taken(conv.double(), images.double())
        assert not taken(Conv3x3(64, 160), images[:, :64])
        assert not taken(conv.half(), images.half())
        conv.float()
        with torch.autocast("cpu", torch.bfloat16):
            assert not taken(conv, images)  # fewer than 256 channels
            wide = Conv3x3(256, 256)
            assert taken(wide, images.repeat(1, 2, 1, 1)) and wide._kept[2].dtype == torch.bfloat16
            assert wide(images.repeat(1, 2, 1, 1)).dtype == torch.bfloat16
    conv.requires_grad_(False)
    assert taken(conv, images)
    assert not taken(conv, images.clone().requires_grad_())
    with torch.inference_mode():
        assert taken(conv, images)
    conv(images)  # what was kept in inference mode serves beyond it
    traced = torch.export.export(nn.Sequential(conv), (images,))
    assert "convolution" in str(traced.graph) or "conv2d" in str(traced.graph)


def test_what_is_kept_follows_the_weights():
    conv, images = layer(), torch.rand(2, 128, 8, 8)

    def agrees() -> bool:
        with torch.no_grad():
            return torch.allclose(conv(images), F.conv2d(images, conv.weight, conv.bias, padding=1), atol=1e-4)

    assert agrees()
    kept = conv._kept[2]
    assert agrees() and conv._kept[2] is kept
    optimizer = torch.optim.SGD(conv.parameters(), lr=0.1)
    conv(images).square().mean().backward()
    optimizer.step()
    assert agrees() and conv._kept[2] is not kept
    for change in (
        lambda: conv.weight.data.copy_(torch.randn_like(conv.weight)),  # as an average of weights is put in its place
        lambda: conv.load_state_dict(layer().state_dict()),
        lambda: setattr(conv, "weight", nn.Parameter(torch.randn_like(conv.weight))),
    ):
        change()
        assert agrees()


def test_copies_do_not_carry_what_is_kept():
    conv = layer().requires_grad_(False)
    conv(torch.rand(1, 128, 8, 8))
    assert conv._kept and copy.deepcopy(conv)._kept is None and pickle.loads(pickle.dumps(conv))._kept is None
    assert set(conv.state_dict()) == {"weight", "bias"}


def test_which_layers_of_a_network():
    network = nn.Sequential(
        nn.Conv2d(128, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding="same"), nn.Conv2d(128, 128, 1),
        nn.Conv2d(128, 128, 3, padding=1, groups=2), nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(128, 128, 3, padding=2, dilation=2), nn.Conv2d(128, 128, 3, padding=1, bias=False),
    ).requires_grad_(False)  # fmt: skip
    images = torch.rand(1, 128, 16, 16)
    before = network(images)
    use_winograd(network)
    assert [type(one) is Conv3x3 for one in network] == [True, False, False, False, False, False, True]
    torch.testing.assert_close(network(images), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("trunk", ["vgg11", "torchvision/resnet18"])
def test_a_network_gives_the_same(trunk, monkeypatch):
    from camexp.models import CAMClassifier, Preprocessing

    torch.manual_seed(0)
    model = CAMClassifier(trunk, list("abc"), Preprocessing((64, 64)), head={"channels": 128, "init_std": 0.1}).eval()
    model.optimise_for("cpu", "32-true")
    images = torch.randn(3, 3, 64, 64)
    found = model.explain(images, "all")
    assert any(getattr(one, "_kept", None) for one in model.modules())
    monkeypatch.setattr(convolution, "winograd_is_faster", lambda dtype: False)
    expected = model.explain(images, "all")
    torch.testing.assert_close(found.maps, expected.maps, rtol=0, atol=1e-4 * float(expected.maps.abs().max()))


def test_some_rows_at_a_time(monkeypatch):
    images, weight, bias = torch.randn(2, 5, 13, 10), torch.randn(7, 5, 3, 3), torch.randn(7)
    expected = F.conv2d(images, weight, bias, padding=1)
    for most in (1, 20_000):  # a row of tiles, and three of them
        monkeypatch.setattr("camexp.models.winograd.SCRATCH_BYTES", most)
        found = convolve_transformed(images, transform_weights(weight, torch.float32), bias)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert convolve_transformed(images[:0], transform_weights(weight, torch.float32)).shape == (0, 7, 13, 10)


def test_threads_have_memory_of_their_own():
    weight = torch.randn(64, 64, 3, 3)
    transformed = transform_weights(weight, torch.float32)
    images = [torch.randn(1, 64, 20 + 2 * size, 32) for size in range(8)]
    expected = [F.conv2d(one, weight, padding=1) for one in images]

    def often(one):
        return [convolve_transformed(one, transformed) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        for results, other in zip(pool.map(often, images), expected, strict=True):
            for found in results:
                torch.testing.assert_close(found, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("changed", [3, 101, (slice(None), 5), (slice(None), 126)])
def test_a_filter_or_a_channel_changed_behind_its_back(changed):
    conv, images = layer().requires_grad_(False), torch.rand(2, 128, 8, 8)
    assert taken(conv, images)
    conv.weight.data[changed] *= 10
    expected = F.conv2d(images, conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(conv(images), expected, atol=1e-3, rtol=1e-3)


def test_a_bias_that_trains_over_frozen_weights():
    conv, images = layer(), torch.rand(2, 128, 8, 8)
    conv.weight.requires_grad_(False)
    conv(images).sum().backward()
    torch.testing.assert_close(conv.bias.grad, torch.full_like(conv.bias, 128.0))
    with torch.no_grad():
        assert taken(conv, images)


def test_what_pytorch_transforms_is_a_plain_convolution():
    conv, images = layer().requires_grad_(False), torch.rand(2, 128, 8, 8)
    plain = F.conv2d(images, conv.weight, conv.bias, padding=1)
    close = partial(torch.testing.assert_close, atol=1e-4, rtol=1e-4)
    close(torch.func.vmap(conv)(images[:, None])[:, 0], plain)
    tangent = F.conv2d(images, conv.weight, padding=1)
    close(torch.func.jvp(conv, (images,), (images,))[1], tangent)
    close(torch.fx.symbolic_trace(nn.Sequential(conv))(images), plain)
    close(torch.jit.trace(conv, images)(images[:1, :, :6]), conv(images[:1, :, :6]))
    close(torch.jit.script(nn.Sequential(conv))(images), plain)
    close(conv(images[0]), plain[0])
    with pytest.raises(RuntimeError):
        conv(images.bfloat16())  # as nn.Conv2d does
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.double()(images.double()).dtype == torch.float64


def test_what_comes_of_the_head_may_be_written():
    conv, features = layer(), torch.rand(8, 128, 16, 16)
    out = convolve(conv, features)
    assert type(out.grad_fn).__name__ == "_WinogradConvBackward"
    F.relu_(out).sum().backward()
    other = layer()
    F.relu(F.conv2d(features, other.weight, other.bias, padding=1)).sum().backward()
    torch.testing.assert_close(conv.weight.grad, other.weight.grad, rtol=1e-3, atol=1e-2)
    bare = nn.Conv2d(128, 160, 3, padding=1, bias=False)
    convolve(bare, features).sum().backward()
    assert bare.weight.grad is not None
