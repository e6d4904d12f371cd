import os
from pathlib import Path

import pytest

from camexp import UserError
from camexp.prediction.inputs import file_name, find_inputs, unique_names
from tests.conftest import paint

GREY = (90, 90, 90)


def test_files_folders_globs_and_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.png", "deep/c.jpg", "deep/er/d.gif", "[x].jpg"):
        paint(tmp_path / name, GREY)
    (tmp_path / "deep" / "notes.txt").write_text("")

    def names(given):
        return [str(path) for path in find_inputs(given)]

    assert names("a.jpg") == ["a.jpg"]
    assert names("deep") == ["deep/c.jpg", "deep/er/d.gif"]
    assert names("*.jpg") == ["[x].jpg", "a.jpg"]
    assert names("**/*.gif") == ["deep/er/d.gif"]
    assert names("[x].jpg") == ["[x].jpg"]  # a file of that name comes before the pattern
    assert names(["b.png", "deep", "b.png"]) == ["b.png", "deep/c.jpg", "deep/er/d.gif"]
    assert names("deep/notes.txt") == ["deep/notes.txt"]  # asked for by name: its reading will tell


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("absent.jpg", "does not exist"),
        ("*.xyz", "matches no file"),
        ("empty", "without images"),
        ([], "names no image"),
    ],
)
def test_inputs_that_are_not_there(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"^input=.*{said}"):
        find_inputs(given)


def test_names_never_collide(tmp_path):
    paths = [
        tmp_path / name
        for name in ("a/x.jpg", "b/x.jpg", "c/a/x.jpg", "y.jpg", "Y.png", "a_x.jpg", "a/b/z.jpg", "b/z.jpg")
    ]
    names = unique_names(paths)
    assert len({name.casefold() for name in names}) == len(paths)
    assert unique_names([tmp_path / "p.jpg", tmp_path / "q.jpg"]) == ["p", "q"]


def test_long_and_odd_names_fit_a_file_system(tmp_path):
    for text in ("x" * 255, "ü" * 200, "a/b\\c", "new\nline", "..", "日本" * 100, "a:b*c?"):
        name = file_name(text)
        (tmp_path / f".99999~{name}__{file_name('y' * 300)}.png"[-200:]).write_text("")
        assert "/" not in name
        assert len(os.fsencode(f"{name}__{file_name('c' * 300)}.png")) < 255


def test_results_are_no_images(tmp_path, monkeypatch):
    """Neither those of this run, as a resumed one would find them, nor of earlier ones, which Hydra has marked."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "sub/b.png", "now/overlays/a.png", "sub/earlier/overlays/b.png", "sub/earlier/.hydra/x.png"):
        paint(tmp_path / name, (9, 9, 9))
    for given in (".", str(tmp_path), "../" + tmp_path.name):
        assert [Path(one).name for one in find_inputs(given, output=Path("now"))] == ["a.png", "b.png"], given
    assert [str(one) for one in find_inputs("**/*a.png", output=Path("now"))] == ["a.png"]
    assert [str(one) for one in find_inputs("sub/earlier/overlays")] == ["sub/earlier/overlays/b.png"]
    assert [str(one) for one in find_inputs("sub/earlier")] == ["sub/earlier/overlays/b.png"]
    with pytest.raises(UserError, match="output=. is input=.: a next run would take its pictures for images"):
        find_inputs(".", output=Path("."))


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py"])
def test_a_folder_without_a_name_is_not_the_working_folder(script, tmp_path, command):
    done = script(command, "ckpt=a.ckpt", *(["input=photos"] if command == "predict.py" else []), "output=")
    assert done.code == 1 and "output= is empty: give the path of a folder" in done.err
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_name_is_not_in_the_working_folder(script, tmp_path):
    done = script("train.py", "hydra.run.dir=")
    assert done.code == 1 and "hydra.run.dir= is empty: give the path of a folder" in done.err
    assert not list(tmp_path.iterdir())
