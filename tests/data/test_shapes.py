import csv

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from camexp import UserError
from camexp.data import find_shapes
from camexp.data.drawing import OBJECTS, draw_picture


def test_the_same_seed_draws_the_same_files(tmp_path):
    one, two = (find_shapes(str(tmp_path / name), per_class=2, size=48) for name in "ab")
    other = find_shapes(str(tmp_path / "a"), per_class=2, size=48, seed=1)
    assert len(one) == 2 * len(OBJECTS) >= 16
    for first, second, third in zip(one.paths, two.paths, other.paths, strict=True):
        assert first.read_bytes() == second.read_bytes() != third.read_bytes()


def test_files_are_written_once(tmp_path):
    stamps = [{path: path.stat().st_mtime_ns for path in find_shapes(str(tmp_path), 2, 48).paths} for _ in range(2)]
    assert stamps[0] == stamps[1]
    assert not list(tmp_path.glob(".drawing-*"))


def test_boxes_are_those_of_the_masks(tmp_path):
    images = find_shapes(str(tmp_path), per_class=3, size=64)
    with (images.root.parent / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(images)
    for row in rows:
        path = images.root / row["image"]
        mask = images.mask(path)
        y, x = ndimage.find_objects(mask.astype(int))[0]
        assert [int(row[key]) for key in ("x0", "y0", "x1", "y1")] == [x.start, y.start, x.stop - 1, y.stop - 1]
        assert images.classes[int(row["label"])] == path.parent.name
        assert images.boxes(path).tolist() == [[x.start, y.start, x.stop - 1, y.stop - 1]]
        assert Image.open(path).size == mask.shape[::-1] == (64, 64)


def test_the_mask_is_where_the_object_is():
    """Two pictures from one seed but for the class differ inside the union of their masks, not far from it."""
    ground, mask = draw_picture("star", 96, np.random.default_rng(5))
    for name in ("heart", "ball"):
        other, other_mask = draw_picture(name, 96, np.random.default_rng(5))
        union = ndimage.binary_dilation(mask | other_mask, iterations=2)
        different = np.abs(ground.astype(int) - other).max(-1) > 60
        assert (different & union).sum() > 0.05 * union.sum()
        assert (different & ~union).mean() < 0.02


def test_objects_vary_in_place_and_size():
    masks = [draw_picture("cross", 64, np.random.default_rng(seed))[1] for seed in range(40)]
    areas = np.array([mask.mean() for mask in masks])
    centres = np.array([ndimage.center_of_mass(mask) for mask in masks])
    assert areas.max() > 2 * areas.min()
    assert (np.ptp(centres, axis=0) > 20).all()


@pytest.mark.parametrize(
    ("change", "said"), [({"size": 8}, "dataset.size=8"), ({"per_class": 1}, "per_class=1"), ({"seed": -1}, "seed=-1")]
)
def test_arguments(tmp_path, change, said):
    with pytest.raises(UserError, match=said):
        find_shapes(str(tmp_path), **change)
