from pathlib import Path

import pytest

from camexp import UserError
from camexp.config import SplitOptions
from camexp.data import ImageSet, split_images

FRACTION = SplitOptions(val_fraction=0.2)
SIXTY = SplitOptions(val_fraction=None, train_per_class=60)


def images(*counts):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    paths = tuple(Path(f"{label}/{number}.png") for number, label in enumerate(labels))
    return ImageSet(Path(), tuple(f"class{label}" for label in range(len(counts))), paths, tuple(labels))


def test_fraction_of_each_class():
    one = images(50, 10, 2, 5)
    split = split_images(one, FRACTION, seed=0)
    assert one.take(split.val).count() == [10, 2, 1, 1]
    assert sorted(split.train + split.val) == list(range(67))


def test_so_many_of_each_class():
    one = images(80, 61)
    split = split_images(one, SIXTY, seed=0)
    assert one.take(split.train).count() == [60, 60]
    assert one.take(split.val).count() == [20, 1]
    with pytest.raises(UserError, match="class1 has 60 images, at least 61"):
        split_images(images(80, 60), SIXTY, seed=0)


def test_all_checks_on_what_it_trains_on():
    split = split_images(images(3, 4), SplitOptions(all=True, val_fraction=None), seed=0)
    assert split.train == split.val == tuple(range(7))


def test_the_seed_decides_and_other_classes_do_not():
    first = split_images(images(30, 30), FRACTION, seed=1)
    assert first == split_images(images(30, 30), FRACTION, seed=1)
    assert first != split_images(images(30, 30), FRACTION, seed=2)
    more = split_images(images(30, 40), FRACTION, seed=1)
    assert [place for place in more.val if place < 30] == [place for place in first.val if place < 30]


@pytest.mark.parametrize(
    ("change", "said"),
    [({"val_fraction": 0}, "val_fraction=0 "), ({"val_fraction": 1.0}, "val_fraction=1.0"), ({"val_fraction": "x"}, "=x"),
     ({"val_fraction": None}, "val_fraction=null and split.train_per_class=null"), ({"train_per_class": 0}, "train_per_class=0"),
     ({"train_per_class": 1.5}, "train_per_class=1.5")],
)  # fmt: skip
def test_options_out_of_range(change, said):
    with pytest.raises(UserError, match=said):
        split_images(images(5, 5), SplitOptions.read(change, "split"), seed=0)


def test_a_class_with_one_image():
    with pytest.raises(UserError, match="class1 has 1 image, at least 2 are needed"):
        split_images(images(5, 1), FRACTION, seed=0)
