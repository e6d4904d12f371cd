"""Masks against the public evaluator's way of reading them, written out anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from camexp.cam.maps import min_max, upsample
from camexp.evaluation.pixel_precision import resize_mask
from camexp.evaluation.scored_image import ScoredImage
from camexp.evaluation.scores import Scores


def nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    cv2 = pytest.importorskip("cv2")
    return cv2.resize(np.float32(mask), size[::-1], interpolation=cv2.INTER_NEAREST) > 0.5


@pytest.mark.parametrize("new", [1, 7, 64, 224, 225])
def test_nearest_is_opencvs(new):
    rng = np.random.default_rng(0)
    for old in (*range(1, 330), 500, 1024):
        mask = rng.random((3, old)) > 0.5
        assert np.array_equal(resize_mask(torch.from_numpy(mask), (2, new)).numpy(), nearest(mask, (2, new))), old


def average_precision(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """PxAP and PxIoU from the pixels themselves, in bins of 0.001."""
    bins = np.floor(scores * np.float32(1000))
    area, best, before = 0.0, 0.0, 0.0
    for level in np.unique(bins)[::-1]:
        found = bins >= level
        hits = (found & truth).sum()
        recall = hits / truth.sum()
        area, before = area + hits / found.sum() * (recall - before), recall
        best = max(best, hits / (found | truth).sum())
    return area, best


@pytest.mark.parametrize("size", [(224, 224), (40, 64), None])
def test_pixels_are_counted_at_the_size_that_is_asked_for(size):
    rng = np.random.default_rng(1)
    scores = Scores(["a", "b"])
    seen, true = [], []
    for place, own in enumerate([(97, 150), (300, 61), (36, 72)]):
        cam = torch.from_numpy(rng.normal(size=(1, 7, 9)).astype(np.float32))
        mask, ignore = np.zeros(own, bool), np.zeros(own, bool)
        mask[own[0] // 5 : own[0] // 2, own[1] // 3 : own[1] // 2] = True
        ignore[own[0] // 3 :, own[1] // 4 : own[1] // 2] = True  # in part over the object
        at = size or own
        item = ScoredImage(place, cam.numpy, None, at, 0, 0, 1.0, 0.0)
        scores.localise(item, cam.numpy(), torch.from_numpy(mask), torch.from_numpy(ignore))
        large = min_max(upsample(cam[None], at))[0, 0].numpy()
        counted, left_out = nearest(mask, at), nearest(ignore, at)
        left_out &= ~counted
        seen.append(large[~left_out])
        true.append(counted[~left_out])
    area, best = average_precision(np.concatenate(seen), np.concatenate(true))
    result = scores.summary()
    assert int(scores.pixels.histograms.sum()) == sum(map(len, seen))
    assert result["PxAP"] == pytest.approx(area, abs=1e-6) and result["PxIoU"] == pytest.approx(best, abs=1e-6)
