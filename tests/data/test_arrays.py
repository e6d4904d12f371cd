"""Paths and numbers in one block of memory behave as the tuples they stand for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from camexp.config import SplitOptions
from camexp.data import ImageSet, Split, class_table, find_imagefolder, split_images
from camexp.data.arrays import IntArray, PathArray

NAMES = ("r/a/1.png", "r/a/11.png", "r/b/日本語 🦙.png", "r/b/new\nline.png", "r/c/\udcff.png", "x", "r/c/1.png")
PATHS = tuple(map(Path, NAMES))


def test_paths_are_those_that_were_given():
    paths = PathArray.of(PATHS)
    assert paths == PATHS and paths == PathArray.of(list(NAMES))
    assert tuple(paths) == PATHS and len(paths) == len(PATHS) and list(reversed(paths)) == list(reversed(PATHS))
    assert [paths[place] for place in range(-7, 7)] == [*PATHS, *PATHS]
    assert paths[1:-1:2] == PATHS[1:-1:2] and paths[5:2] == () and PATHS[3] in paths
    assert paths.take([3, 3, 0]) == (PATHS[3], PATHS[3], PATHS[0])
    assert paths != PATHS[:-1] and paths != PATHS[::-1] and paths != "r"
    assert hash(paths) == hash(PathArray.of(PATHS)) and pickle.loads(pickle.dumps(paths)) == PATHS
    assert PathArray.joining([paths[:2], paths[2:2], paths[2:]]) == paths and not PathArray.joining([])
    for place in (7, -8):
        with pytest.raises(IndexError):
            paths[place]


def test_a_path_is_found_by_its_whole_name_only():
    paths = PathArray.of(PATHS)
    assert paths.named("1.png") == [0, 6] and paths.named("png") == [] and paths.named("x") == [5]
    assert paths.named("a/1.png") == [] and paths.named("🦙.png") == []


def test_numbers_are_those_that_were_given():
    numbers = IntArray((3, 1, 2))
    assert numbers == (3, 1, 2) == numbers and numbers == [3, 1, 2] and numbers != (3, 1) and numbers != (3, 1, 1)
    assert numbers + numbers[:1] == (3, 1, 2, 3) and numbers[::2] == (3, 2) and tuple(numbers) == (3, 1, 2)
    assert type(numbers[0]) is int and type(next(iter(numbers))) is int and numbers.index(2) == 2
    assert np.asarray(numbers).dtype == np.int64 and hash(numbers) == hash(IntArray([3, 1, 2])) and not IntArray()
    with pytest.raises(IndexError):
        numbers[3]


def test_an_image_set_of_tuples_is_one_of_arrays(colours):
    found = find_imagefolder(str(colours))
    given = ImageSet(found.root, found.classes, tuple(found.paths), tuple(found.labels), found.left_out)
    assert given == found and hash(given) == hash(found)
    assert given != ImageSet(found.root, found.classes, tuple(found.paths), (0,) * 24)
    assert found.take([23, 0]).paths == (found.paths[23], found.paths[0]) and found.take([23, 0]).labels == (2, 0)
    assert ImageSet(Path("r"), ("a",), (), ()).count() == [0]


def test_nothing_a_worker_is_given_is_an_object_an_image(colours):
    images = find_imagefolder(str(colours))
    split = split_images(images, SplitOptions(val_fraction=0.25), seed=0)
    assert isinstance(images.paths, PathArray) and isinstance(images.labels, IntArray)
    assert isinstance(split.train, IntArray) and isinstance(split.val[1:], IntArray)
    assert Split((1,), (0,)) == Split(IntArray([1]), [0]) != Split((1,), (1,))
    assert class_table(images, split) == [(0, "blue", 6, 2), (1, "green", 6, 2), (2, "red", 6, 2)]


def test_a_file_is_found_however_its_folder_is_written(colours, tmp_path, monkeypatch):
    images = find_imagefolder(str(colours))
    (tmp_path / "link").symlink_to(colours, target_is_directory=True)
    (tmp_path / "mine.png").symlink_to(colours / "red" / "red_3.png")
    (tmp_path / "red_3.png").write_bytes(b"of the same name only")
    wanted = images.paths.index(colours / "red" / "red_3.png")
    looked = []
    resolve = Path.resolve
    monkeypatch.setattr(Path, "resolve", lambda path, *rest: looked.append(path) or resolve(path, *rest))
    for path in (colours / "blue" / ".." / "red" / "red_3.png", tmp_path / "link" / "red" / "red_3.png",
                 tmp_path / "mine.png"):  # fmt: skip
        assert images.find(path) == wanted
    assert images.find(tmp_path / "red_3.png") is None and images.find(tmp_path / "absent.png") is None
    assert len(looked) < 20, "not every image's links are followed"
