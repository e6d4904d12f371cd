"""Metrics against plain loops, and in several processes' shares."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch

from camexp.cam.maps import min_max
from camexp.evaluation import MaxBoxAcc, PixelPrecision, best_ious, box_iou, components
from camexp.evaluation.faithfulness import confidence_change, insertion_deletion
from camexp.evaluation.pixel_precision import score_histograms


def iou_by_pixels(a, b) -> float:
    sheets = []
    for x0, y0, x1, y1 in (a, b):
        sheet = np.zeros((40, 40), bool)
        sheet[y0 : y1 + 1, x0 : x1 + 1] = True
        sheets.append(sheet)
    return (sheets[0] & sheets[1]).sum() / (sheets[0] | sheets[1]).sum()


def test_iou_counts_pixels():
    rng = np.random.default_rng(0)
    corners = np.sort(rng.integers(0, 40, (20, 2, 2)), axis=1)
    boxes = [(int(a[0]), int(a[1]), int(b[0]), int(b[1])) for a, b in corners]
    expected = [[iou_by_pixels(a, b) for b in boxes] for a in boxes]
    assert np.allclose(box_iou(boxes, boxes), expected)


def test_best_iou_at_every_threshold():
    cam = min_max(torch.rand(12, 14, generator=torch.Generator().manual_seed(1))).numpy()
    truth = [(1, 1, 6, 8), (9, 3, 12, 10)]
    found = components(cam, 20)
    best = best_ious(found, truth)
    for level in range(21):
        boxes = found.at(level).boxes.tolist()
        assert best[level] == pytest.approx(max(iou_by_pixels(a, b) for a in boxes for b in truth), abs=1e-6)


def test_max_box_acc_and_its_shares():
    curves = torch.rand(30, 101, generator=torch.Generator().manual_seed(0))
    whole = MaxBoxAcc((0.3, 0.5, 0.7), steps=100)
    shares = [copy.deepcopy(whole) for _ in range(3)]
    whole.update(curves)
    for number, share in enumerate(shares):
        share.update(curves[number::3])
    expected = [max(float((curves[:, k] >= iou).float().mean()) for k in range(101)) for iou in (0.3, 0.5, 0.7)]
    assert float(whole.compute()) == pytest.approx(float(np.mean(expected)))
    assert whole.per_iou().tolist() == pytest.approx(expected)
    # torchmetrics adds these states over processes
    shares[0].hits = sum(share.hits for share in shares)
    shares[0].total = sum(share.total for share in shares)
    assert torch.equal(shares[0].compute(), whole.compute())
    level = round(whole.best_threshold() * 100)
    means = torch.stack([(curves >= iou).float().mean(0) for iou in (0.3, 0.5, 0.7)]).mean(0)
    assert means[level] == means.max()


def test_pxap_is_the_average_precision():
    generator = torch.Generator().manual_seed(0)
    maps = min_max(torch.rand(4, 16, 16, generator=generator))
    masks = torch.rand(4, 16, 16, generator=generator) < 0.2 + 0.6 * maps
    ignore = torch.rand(4, 16, 16, generator=generator) < 0.1
    metric = PixelPrecision(steps=1000)
    for one in range(4):
        metric.update(maps[one : one + 1], masks[one : one + 1], ignore[one : one + 1])
    scores, truth = (maps * 1000).floor()[~ignore].numpy(), masks[~ignore].numpy()
    precisions, recalls, ious = [], [0.0], []
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        precisions.append((above & truth).sum() / above.sum())
        recalls.append((above & truth).sum() / truth.sum())
        ious.append((above & truth).sum() / (above | truth).sum())
    result = metric.compute()
    assert float(result["PxAP"]) == pytest.approx(float(np.sum(precisions * np.diff(recalls))), abs=1e-6)
    assert float(result["PxIoU"]) == pytest.approx(max(ious), abs=1e-6)
    best = round(metric.best_threshold() * 1000)
    above = scores >= best
    assert (above & truth).sum() / (above | truth).sum() == pytest.approx(max(ious))


def test_ignored_pixels_count_as_neither():
    maps, masks = torch.rand(1, 6, 6), torch.ones(1, 6, 6, dtype=torch.bool)
    ignore = torch.zeros_like(masks)
    ignore[0, :2] = True
    assert int(score_histograms(maps, masks, ignore).sum()) == 24
    with pytest.raises(ValueError, match="are expected"):
        score_histograms(maps, masks[:, :3])


def brightness(images: torch.Tensor) -> torch.Tensor:
    mean = images.mean((1, 2, 3))
    return torch.stack([mean, 1 - mean], 1)


def test_insertion_and_deletion_by_hand():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    cam = image.mean(1)
    label, blank = torch.tensor([0]), torch.zeros(3)
    _, deletion = insertion_deletion(brightness, image, cam, label, blank, steps=8)
    order = cam.flatten().argsort(descending=True)
    values = []
    for step in range(9):
        left = image.flatten(2).clone()
        left[..., order[: 32 * step]] = 0
        values.append(float(left.mean()))
    assert float(deletion) == pytest.approx(sum((a + b) / 2 for a, b in itertools.pairwise(values)) / 8, abs=1e-6)
    # to remove what matters first is to fall faster than to remove it last
    _, opposite = insertion_deletion(brightness, image, -cam, label, blank, steps=8)
    assert float(deletion) < float(opposite)
    insertion, _ = insertion_deletion(brightness, image, cam, label, blank, steps=8)
    worst, _ = insertion_deletion(brightness, image, -cam, label, blank, steps=8)
    assert float(insertion) > float(worst)


def test_confidence_change():
    image = torch.full((2, 3, 4, 4), 0.5)
    cam = torch.stack([torch.ones(4, 4), torch.zeros(4, 4)])
    drop, increase = confidence_change(brightness, image, cam, torch.tensor([0, 1]), torch.zeros(3))
    assert drop.tolist() == [0.0, 0.0] and increase.tolist() == [False, True]
