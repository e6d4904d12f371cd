"""The quick gradient is the gradient."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from camexp.models.convolution import convolve


@pytest.mark.parametrize("count", [1, 8, 11])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_those_of_float64(count, memory_format):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 10, 3, padding=1).to(memory_format=memory_format)
    exact = copy.deepcopy(layer).double()
    features = torch.randn(count, 6, 5, 7).to(memory_format=memory_format)
    weights = torch.randn(count, 10, 5, 7)
    (convolve(layer, features).relu() * weights).sum().backward()
    (exact(features.double()).relu() * weights.double()).sum().backward()
    for ours, reference in zip(layer.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), reference.grad, rtol=1e-5, atol=1e-5)


def test_in_bfloat16_it_is_as_exact_as_the_convolution_library():
    torch.manual_seed(0)
    layer, features = nn.Conv2d(32, 48, 3, padding=1), torch.randn(9, 32, 7, 5)
    weights, errors = torch.randn(9, 48, 7, 5), []
    exact = copy.deepcopy(layer).double()
    (exact(features.double()) * weights.double()).sum().backward()
    for forward in (layer, lambda features: convolve(layer, features)):
        layer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            out = forward(features)
            assert out.dtype == torch.bfloat16
            (out * weights).sum().backward()  # in the autocast block too
        assert layer.weight.grad.dtype == torch.float32
        errors.append(float((layer.weight.grad - exact.weight.grad).norm() / exact.weight.grad.norm()))
    assert errors[1] < 1.1 * errors[0] < 0.01


def test_it_is_used_where_it_holds_and_nowhere_else():
    layer, features = nn.Conv2d(3, 4, 3, padding=1), torch.randn(2, 3, 5, 5)
    assert "OfFixedFeatures" in type(convolve(layer, features).grad_fn).__name__
    through = convolve(layer, features.requires_grad_())
    through.sum().backward()
    assert features.grad is not None, "a trunk that trains gets its gradient"
    with torch.autocast("cpu", torch.bfloat16):
        assert "OfFixedFeatures" in type(convolve(layer, features.detach()).grad_fn).__name__
    with torch.no_grad():
        assert convolve(layer, features.detach()).grad_fn is None


def test_a_frozen_head_gets_no_gradient():
    layer, features = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False), torch.randn(2, 3, 5, 5)
    assert not convolve(layer, features).requires_grad
