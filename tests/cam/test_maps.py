"""Upsampling against torch's own, in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from camexp.cam.maps import upsample


@pytest.mark.parametrize("have", [(14, 14), (7, 12), (1, 1), (20, 3)])
@pytest.mark.parametrize("want", [(224, 224), (33, 90), (14, 14), (5, 2)])
def test_upsample_is_bilinear_interpolation(have, want):
    torch.manual_seed(0)
    maps = torch.randn(2, 5, *have)
    expected = F.interpolate(maps.double(), want, mode="bilinear", align_corners=False)
    result = upsample(maps, want)
    assert result.dtype == torch.float32 and result.shape == (2, 5, *want)
    assert (result - expected).abs().max() < 2e-6 * maps.abs().max()
    place = torch.full_like(result, torch.nan)
    assert upsample(maps, want, place) is place and torch.equal(place, result)
