"""Boxes against a plain flood fill."""

import numpy as np
import pytest

from camexp.cam import box_from_map


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
