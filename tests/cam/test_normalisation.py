"""Normalisations against NumPy's percentiles."""

import numpy as np
import pytest
import torch

from camexp.cam import Normalisation, min_max

LIMITS = {
    "minmax": lambda cam, p: (cam.min(), cam.max()),
    "max": lambda cam, p: (0.0, cam.max()),
    "percentile": lambda cam, p: (0.0, np.percentile(cam, p or 90)),
    "ivr": lambda cam, p: (np.percentile(cam, p or 30), cam.max()),
}


@pytest.mark.parametrize("how", LIMITS)
@pytest.mark.parametrize("percentile", [None, 12.5])
@pytest.mark.parametrize("shape", [(7, 9), (1, 1), (2, 3)])
def test_against_numpy(how, percentile, shape):
    maps = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(1))
    found = Normalisation(how, percentile)(maps)
    assert found.dtype == torch.float32
    for cam, one in zip(maps.flatten(0, 1).numpy().astype(np.float64), found.flatten(0, 1).numpy(), strict=True):
        low, high = LIMITS[how](cam, percentile)
        expected = np.clip((cam - low) / (high - low), 0, 1) if high > low else np.zeros_like(cam)
        assert np.abs(one - expected).max() < 1e-5


def test_without_a_word_it_is_min_max():
    maps = torch.randn(4, 5, 6)
    assert torch.equal(Normalisation()(maps), min_max(maps).clamp(0, 1))


@pytest.mark.parametrize("how", LIMITS)
def test_a_map_with_nothing_to_show_is_zero(how):
    flat = torch.full((1, 4, 4), -2.0)
    assert torch.equal(Normalisation(how)(flat), torch.zeros_like(flat))
