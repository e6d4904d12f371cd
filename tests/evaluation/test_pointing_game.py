import numpy as np
import pytest
import torch

from camexp.evaluation import PointingGame, peaks_inside


def test_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    maps, masks = torch.randn(40, 9, 7, generator=generator), torch.rand(40, 9, 7, generator=generator) < 0.4
    expected = [
        bool(mask.numpy()[np.unravel_index(cam.numpy().argmax(), (9, 7))])
        for cam, mask in zip(maps, masks, strict=True)
    ]
    assert peaks_inside(maps, masks).tolist() == expected
    metric = PointingGame()
    for start in range(0, 40, 13):
        metric.update(maps[start : start + 13], masks[start : start + 13])
    assert float(metric.compute()) == pytest.approx(sum(expected) / 40)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="are expected"):
        peaks_inside(torch.zeros(1, 2, 2), torch.zeros(1, 3, 2, dtype=torch.bool))
