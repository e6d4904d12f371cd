"""Boxes against a plain flood fill."""

import numpy as np
import pytest

from camexp.cam import box_from_map
from camexp.cam.boxes import connected_parts, largest_box


def flood_fill_box(cam, threshold):
    """The same by hand: 8-connected parts above the threshold, the box of the one with most pixels."""
    above = {tuple(place) for place in np.argwhere(cam > threshold * cam.max())}
    best = []
    while above:
        part, border = [], [above.pop()]
        while border:
            y, x = border.pop()
            part.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & above
            above -= near
            border += near
        best = max(best, part, key=len)
    rows, columns = zip(*best, strict=True)
    return min(columns), min(rows), max(columns), max(rows)


@pytest.mark.parametrize("seed", range(20))
def test_largest_part(seed):
    rng = np.random.default_rng(seed)
    cam = rng.normal(0, 1, (12, 17)) ** 3
    for threshold in (0.0, 0.05, 0.2, 0.7):
        found, expected = box_from_map(cam, threshold), flood_fill_box(cam, threshold)
        if found != expected:  # two parts of the same size: either is largest
            assert (found[2] - found[0], found[3] - found[1]) != (0, 0) or cam.max() > 0
            sizes = sorted(part_sizes(cam, threshold))
            assert sizes[-1] == sizes[-2]


def part_sizes(cam, threshold):
    from scipy import ndimage

    parts, count = ndimage.label(cam > threshold * cam.max(), structure=np.ones((3, 3)))
    return [int((parts == number).sum()) for number in range(1, count + 1)]


def test_nothing_positive_has_no_box():
    assert box_from_map(np.full((4, 4), -1.0)) is None
    assert box_from_map(np.zeros((4, 4))) is None


def test_one_pixel_and_everything():
    cam = np.zeros((5, 6))
    cam[2, 4] = 1
    assert box_from_map(cam) == (4, 2, 4, 2)
    assert box_from_map(np.ones((5, 6))) == (0, 0, 5, 4)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="map"):
        box_from_map(np.zeros((1, 2, 3)))
    with pytest.raises(ValueError, match="threshold"):
        box_from_map(np.ones((2, 2)), 1.0)


def test_parts_their_masks_and_areas_are_a_flood_fills():
    rng = np.random.default_rng(0)
    for density in (0.05, 0.3, 0.5, 0.9, 0.0, 1.0):
        above = rng.random((14, 19)) < density
        left = {tuple(place) for place in np.argwhere(above)}
        expected = []
        while left:
            part, border = set(), [left.pop()]
            while border:
                y, x = border.pop()
                part.add((int(y), int(x)))
                near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
                left -= near
                border += near
            expected.append(part)
        expected.sort(key=lambda part: (-len(part), min(part)))  # the uppermost pixel, of a row the leftmost
        for min_area in (1, 3):
            found = connected_parts(above, min_area)
            pixels = [
                {(int(y) + box[1], int(x) + box[0]) for y, x in np.argwhere(mask)} for box, mask, _ in found
            ]  # fmt: skip
            assert pixels == [part for part in expected if len(part) >= min_area]
            assert [part.area for part in found] == [len(part) for part in pixels]
            for (x0, y0, x1, y1), mask, _ in found:
                assert mask.shape == (y1 + 1 - y0, x1 + 1 - x0)
                assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
        assert largest_box(above) == (connected_parts(above)[0].box if above.any() else None)
