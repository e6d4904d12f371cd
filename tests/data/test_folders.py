"""Folders of classes as people have them."""

import os

import pytest

from camexp import UserError
from camexp.config import DatasetOptions
from camexp.data import build_images, find_caltech101, find_caltech256, find_imagefolder
from tests.conftest import paint

GREY = (120, 120, 120)


def options(root, **changes):
    return DatasetOptions.read({"_target_": "camexp.data.find_imagefolder", "root": str(root), **changes})


def test_one_folder_a_class_nested_folders_read_strays_left_out(tmp_path):
    for name in (
        "b/1.png",
        "b/deep/er/2.jpg",
        "a/1.PNG",
        "a/2.gif",
        "a/notes.txt",
        "a/.hidden.png",
        "stray.png",
        ".git/x.png",
    ):
        if name.endswith("txt"):
            (tmp_path / name).write_text("notes")
        else:
            paint(tmp_path / name, GREY)
    images = find_imagefolder(str(tmp_path))
    assert images.classes == ("a", "b")
    assert [str(path.relative_to(tmp_path)) for path in images.paths] == [
        "a/1.PNG",
        "a/2.gif",
        "b/1.png",
        "b/deep/er/2.jpg",
    ]
    assert images.labels == (0, 0, 1, 1)
    assert images.left_out == 1


def test_extensions_limit_what_counts(tmp_path):
    for name in ("a/1.png", "a/2.jpg", "b/1.png"):
        paint(tmp_path / name, GREY)
    assert len(find_imagefolder(str(tmp_path), extensions=["PNG"])) == 2
    assert len(find_imagefolder(str(tmp_path), extensions=[".jpg", "png"])) == 3
    with pytest.raises(UserError, match=r"dataset\.extensions=\['xyz'\]"):
        find_imagefolder(str(tmp_path), extensions=["xyz"])


def test_a_loop_of_links_ends(tmp_path):
    paint(tmp_path / "a" / "1.png", GREY)
    paint(tmp_path / "b" / "1.png", GREY)
    os.symlink(tmp_path / "a", tmp_path / "a" / "again")
    assert len(find_imagefolder(str(tmp_path))) == 2


def test_classes_are_limited_by_name_number_or_count(colours):
    images = find_imagefolder(str(colours))
    assert images.classes == ("blue", "green", "red")
    assert images.select_classes(["red", "blue"]).classes == ("blue", "red")
    assert images.select_classes([2, "green"]).labels == (0,) * 8 + (1,) * 8
    assert images.select_classes(2).classes == ("blue", "green")
    assert {path.parent.name for path in images.select_classes(["red", "blue"]).paths} == {"red", "blue"}
    for wanted, said in ((["red", "redd"], "did you mean red"), (["red"], "at least two"), (["red", "red"], "each once"),
                         (4, "expected 2 to 3"), (1, "expected 2 to 3")):  # fmt: skip
        with pytest.raises(UserError, match=said):
            images.select_classes(wanted)


def test_roots_that_will_not_do(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "one").mkdir()
    paint(tmp_path / "one" / "a" / "1.png", GREY)
    paint(tmp_path / "bare" / "a" / "1.png", GREY)
    (tmp_path / "bare" / "b").mkdir()
    paint(tmp_path / "bare" / "c" / "1.png", GREY)
    for name, said in (("absent", "does not exist"), ("file", "is a file"), ("empty", "holds no image"),
                       ("one", "one class only"), ("bare", "no image of the class b")):  # fmt: skip
        with pytest.raises(UserError, match=rf"^dataset\.root=.*{said}"):
            build_images(options(tmp_path / name))
    assert build_images(options(tmp_path / "bare", classes=["a", "c"])).classes == ("a", "c")
    with pytest.raises(UserError, match=r"dataset\.root is not given"):
        find_imagefolder(None)


def test_undecodable_files_are_skipped_listed_and_counted(colours, tmp_path, capsys):
    (colours / "red" / "red_3.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"1 of 24 images cannot be decoded .*red_3\.png.* dataset\.max_skipped=0\.01"):
        build_images(options(colours, max_skipped=0.01), str(tmp_path / "first"))
    assert "red_3.png" in (tmp_path / "first" / "skipped.csv").read_text()
    images = build_images(options(colours), str(tmp_path / "run"))
    assert images.count() == [8, 8, 7]
    listed = (tmp_path / "run" / "skipped.csv").read_text().splitlines()
    assert len(listed) == 2
    assert "red_3.png" in listed[1]


def test_what_was_decodable_is_remembered_until_the_file_changes(colours, monkeypatch):
    from camexp.data import imageset

    looked = []
    read = imageset.read_image
    monkeypatch.setattr(imageset, "read_image", lambda path: looked.append(path.name) or read(path))
    build_images(options(colours))
    assert len(looked) == 24
    build_images(options(colours))
    assert len(looked) == 24
    (colours / "red" / "red_3.png").write_bytes(b"no image")
    assert len(build_images(options(colours))) == 23
    assert looked[24:] == ["red_3.png"]


def test_a_class_of_which_nothing_can_be_decoded(colours):
    for path in (colours / "red").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match="no image of the class red"):
        build_images(options(colours, max_skipped=1.0))


@pytest.fixture
def caltech256(tmp_path):
    root = tmp_path / "256_ObjectCategories"
    for folder, count in (("001.ak47", 3), ("056.dog", 3), ("198.spider", 2), ("257.clutter", 2)):
        for number in range(1, count + 1):
            paint(root / folder / f"{folder[:3]}_{number:04d}.jpg", GREY)
    (root / "198.spider" / "RENAME2").write_text("mv …")
    (root / "056.dog" / "greg" / "vision309").mkdir(parents=True)
    paint(root / "056.dog" / "greg" / "056_0001.jpg", GREY)
    return root


@pytest.mark.parametrize("holds", [True, False])
def test_caltech256(caltech256, holds):
    images = find_caltech256(str(caltech256.parent if holds else caltech256))
    assert images.classes == ("ak47", "dog", "spider", "clutter")
    assert images.count() == [3, 3, 2, 2]
    assert images.left_out == 2


def test_caltech101_leaves_the_background_out(tmp_path):
    for name in ("accordion", "llama", "BACKGROUND_Google"):
        paint(tmp_path / "101_ObjectCategories" / name / "image_0001.jpg", GREY)
    assert find_caltech101(str(tmp_path)).classes == ("accordion", "llama")


def test_a_folder_called_like_a_number_is_found_by_its_name(tmp_path):
    for name in "1234":
        paint(tmp_path / name / "a.png", GREY)
    assert find_imagefolder(str(tmp_path)).select_classes([1, 2]).classes == ("1", "2")
    for wanted in (1.5, True, [1.5, 2], [None, 1]):
        with pytest.raises(UserError):
            find_imagefolder(str(tmp_path)).select_classes(wanted)


def test_a_failure_is_looked_at_again(colours, monkeypatch):
    from camexp.data import UnreadableImage, imageset

    read = imageset.read_image

    def failing(path):
        if path.name == "red_3.png":
            raise UnreadableImage("stale file handle")
        return read(path)

    monkeypatch.setattr(imageset, "read_image", failing)
    assert len(build_images(options(colours))) == 23
    monkeypatch.setattr(imageset, "read_image", read)
    assert len(build_images(options(colours))) == 24
