"""All parts at all thresholds, against one labelling a threshold."""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.ndimage import gaussian_filter

from camexp.cam.maps import min_max
from camexp.evaluation.components import components, largest_box, quantised
from camexp.evaluation.max_box_acc import best_ious, box_iou


def smooth(cells: int, side: int, seed: int) -> np.ndarray:
    """A map as a network makes it: a few cells, upsampled."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, 1, cells, cells + 1, generator=generator).clamp(min=-1)
    return min_max(F.interpolate(coarse, (side, side + 5), mode="bilinear"))[0, 0].numpy()


def noise(side: int, levels: int, seed: int) -> np.ndarray:
    """Many basins, plateaus and ties."""
    return (np.random.default_rng(seed).integers(0, levels, (side, side + 3)) / (levels - 1)).astype(np.float32)


MAPS = {
    **{f"smooth {cells}×{side}": smooth(cells, side, cells) for cells, side in ((3, 17), (5, 40), (14, 56))},
    **{f"noise {levels}": noise(24, levels, levels) for levels in (2, 3, 11, 1000)},
    "flat": np.zeros((5, 7), np.float32),
    "ones": np.ones((5, 7), np.float32),
    "one row": np.linspace(0, 1, 9, dtype=np.float32)[None],
    "one pixel": np.ones((1, 1), np.float32),
    "chequered": np.indices((8, 9)).sum(0).astype(np.float32) % 2,
    "more than 65,536 pixels": np.kron(smooth(4, 20, 9), np.ones((14, 14), np.float32)),
    "spiral of two": np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]], np.float32),
}


@pytest.mark.parametrize("many_basins", [False, True])
@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_every_part_at_every_threshold(name, steps, many_basins, monkeypatch):
    cam = MAPS[name]
    if many_basins:  # the way that maps of more than a thousand basins go
        monkeypatch.setattr(sys.modules[components.__module__], "MOST_BASINS", 0)
    found = components(cam, steps)
    for level in range(steps + 1):
        parts, _ = ndimage.label(quantised(cam, steps) // (32000 // steps) >= level, structure=np.ones((3, 3)))
        expected = sorted(
            (c.start, r.start, c.stop - 1, r.stop - 1, int((parts == number + 1).sum()))
            for number, (r, c) in enumerate(ndimage.find_objects(parts))
        )
        at = found.at(level)
        assert sorted((*box, area) for box, area in zip(at.boxes.tolist(), at.areas.tolist(), strict=True)) == expected
        largest = found.largest().at(level)
        assert len(largest.levels) == min(1, len(expected))
        if expected:
            assert largest.areas[0] == max(area for *_, area in expected)
            box = largest_box(cam, level, steps)
            assert (*box.tolist(), int(largest.areas[0])) in expected


def test_a_noisy_map_takes_memory_by_its_pixels_and_gives_the_same():
    cam = noise(250, 100_000, 5)
    cam[7, 9] = 1
    tracemalloc.start()
    found = components(cam, 1000)
    best = best_ious(found, [[20, 30, 120, 140], [200, 3, 240, 40]])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300 * cam.size, "basins × levels would be 1,500 bytes a pixel and more"
    levels = quantised(cam, 1000) // 32
    for level in (0, 1, 333, 600, 721, 900, 1000):
        parts, count = ndimage.label(levels >= level, structure=np.ones((3, 3)))
        boxes = [[c.start, r.start, c.stop - 1, r.stop - 1] for r, c in ndimage.find_objects(parts)]
        areas = np.bincount(parts.ravel(), minlength=count + 1)[1:].tolist()
        at = found.at(level)
        assert sorted(zip(at.boxes.tolist(), at.areas.tolist(), strict=True)) == sorted(zip(boxes, areas, strict=True))
        assert found.largest().at(level).areas.tolist() == [max(areas)]
        truth = [[20, 30, 120, 140], [200, 3, 240, 40]]
        assert best[level] == pytest.approx(box_iou(boxes, truth).max(), abs=1e-6)


@pytest.mark.parametrize("cam", [np.zeros(4), np.zeros((0, 3)), np.full((2, 2), 1.5), np.full((2, 2), np.nan)])
def test_what_is_no_map_is_refused(cam):
    with pytest.raises(ValueError, match="is expected"):
        components(cam)


def test_contours_are_the_reference_evaluators():
    cv2 = pytest.importorskip("cv2")
    from camexp.evaluation.contours import contours

    cam = smooth(6, 48, 3)
    found = contours(cam, 100)
    image = np.expand_dims((cam * 255).astype(np.uint8), 2)
    for level in range(100):  # as the published evaluator has it, line by line
        _, thresholded = cv2.threshold(
            src=image, thresh=int(level / 100 * np.max(image)), maxval=255, type=cv2.THRESH_BINARY
        )
        expected = []
        for contour in cv2.findContours(image=thresholded, mode=cv2.RETR_TREE, method=cv2.CHAIN_APPROX_SIMPLE)[-2]:
            x, y, w, h = cv2.boundingRect(contour)
            expected.append([x, y, min(x + w, cam.shape[1] - 1), min(y + h, cam.shape[0] - 1)])
        assert sorted(found.at(level).boxes.tolist()) == sorted(expected)


def test_the_largest_contour_is_the_reference_evaluators():
    """By areas in halves of a pixel: in whole ones two would tie here, and the first found count."""
    cv2 = pytest.importorskip("cv2")
    from camexp.evaluation.contours import contours

    rng, tied = np.random.default_rng(0), 0
    rough = [gaussian_filter(rng.random((224, 224)), 6) for _ in range(4)][-1]
    cam = ((rough - rough.min()) / (rough.max() - rough.min())).astype(np.float32)
    largest = contours(cam).largest()
    image = (cam * 255).astype(np.uint8)
    for level in range(1000):
        _, above = cv2.threshold(image, int(level / 1000 * image.max()), 255, cv2.THRESH_BINARY)
        found = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        if found:
            x, y, wide, high = cv2.boundingRect(max(found, key=cv2.contourArea))
            assert largest.boxes[level].tolist() == [x, y, min(x + wide, 223), min(y + high, 223)]
            tied += max(found, key=cv2.contourArea) is not max(found, key=lambda one: int(cv2.contourArea(one)))
    assert tied
