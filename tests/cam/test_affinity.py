"""Affinity averages against two loops in float64."""

import numpy as np
import pytest
import torch

from camexp.cam import affinity, average_over_alike, upsample


def by_loops(cam: np.ndarray, features: np.ndarray, power: float) -> np.ndarray:
    """Of one map ``(H, W)`` and features ``(D, H, W)``."""
    places = features.reshape(len(features), -1).astype(np.float64).T
    places, values = places - places.mean(0), cam.astype(np.float64).ravel()
    out = values.copy()
    for i, one in enumerate(places):
        if not np.linalg.norm(one):
            continue
        alike = [
            max(0.0, one @ other / (np.linalg.norm(one) * (np.linalg.norm(other) or 1))) ** power for other in places
        ]
        out[i] = np.dot(alike, values) / np.sum(alike)
    return out.reshape(cam.shape)


def random_case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, 3, 4, generator=generator), torch.randn(2, 9, 6, 8, generator=generator).relu()


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_it_is_the_weighted_mean(power):
    maps, features = random_case()
    features[1, :, 2, 3] = features[1].flatten(1).mean(1)
    refined = average_over_alike(maps, features, power)
    large = upsample(maps, (6, 8))
    assert refined.shape == (2, 3, 6, 8) and refined.dtype == torch.float32
    for image in range(2):
        for number in range(3):
            expected = by_loops(large[image, number].numpy(), features[image].numpy(), power)
            place = (
                np.s_[:, :] if not image else np.arange(48).reshape(6, 8) != 2 * 8 + 3
            )  # rounding decides at the mean
            assert np.abs(refined[image, number].numpy() - expected)[place].max() < 2e-5
    assert refined.amax() <= large.amax() + 1e-5 and refined.amin() >= large.amin() - 1e-5


def test_rows_by_rows_are_all_rows(monkeypatch):
    maps, features = random_case()
    whole = average_over_alike(maps, features)
    monkeypatch.setattr(affinity, "MOST_PAIRS", 5 * 48)
    assert torch.allclose(average_over_alike(maps, features), whole, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_of_half_precision_lose_nothing_more(dtype):
    maps, features = random_case()
    features = features.to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        refined = average_over_alike(maps, features)
    assert torch.allclose(refined, average_over_alike(maps, features.float()), atol=1e-6)


def test_constant_features_change_nothing_and_infinite_ones_are_told():
    maps, features = random_case()
    assert torch.equal(average_over_alike(maps, torch.zeros_like(features)), upsample(maps, (6, 8)))
    features[0, 0, 0, 0] = torch.inf
    refined = average_over_alike(maps, features)
    assert refined[0].isnan().all() and refined[1].isfinite().all()
    assert average_over_alike(maps[:0], features[:0]).shape == (0, 3, 6, 8)


def test_shapes_that_do_not_fit():
    maps, features = random_case()
    with pytest.raises(ValueError, match=r"got \(2, 3, 3, 4\) and \(1, 9, 6, 8\)"):
        average_over_alike(maps, features[:1])
