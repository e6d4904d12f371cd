"""The folder's images, and nothing else of the disk."""

from __future__ import annotations

import logging

import pytest

from camexp.config import ExploreOptions
from camexp.errors import UserError
from camexp.explore import find_gallery
from camexp.explore.gallery import Gallery
from camexp.explore.uploads import Refused
from tests.conftest import paint


@pytest.fixture
def photos(tmp_path):
    paint(tmp_path / "secret.png", (1, 2, 3))
    paint(tmp_path / "hidden" / "secret.png", (1, 2, 3))
    for name in ("a/x.png", "b/y.jpg"):
        paint(tmp_path / "photos" / name, (200, 50, 40))
    (tmp_path / "photos" / "notes.txt").write_text("private")
    return tmp_path / "photos"


def options(folder):
    return ExploreOptions.read({"ckpt": "a", "input": str(folder), "cam": {}})


def test_links_that_lead_out_are_not_offered(photos, caplog):
    (photos / "link.png").symlink_to(photos.parent / "secret.png")
    (photos / "folder").symlink_to(photos.parent / "hidden")
    (photos / "inside.png").symlink_to(photos / "a" / "x.png")
    (photos / "circle.png").symlink_to(photos / "circle.png")
    with caplog.at_level(logging.WARNING):
        gallery = find_gallery(options(photos))
    assert sorted(gallery.names) == ["a/x.png", "b/y.jpg", "inside.png"]
    assert "links that lead out of the folder are left out" in caplog.text


def test_a_file_that_becomes_a_link_is_not_served(photos):
    gallery = find_gallery(options(photos))
    number = gallery.names.index("a/x.png")
    assert gallery.read(number, 1) == (photos / "a" / "x.png").read_bytes()
    (photos / "a" / "x.png").unlink()
    (photos / "a" / "x.png").symlink_to(photos.parent / "secret.png")
    with pytest.raises(Refused, match=r"a/x\.png is not in the folder any more"):
        gallery.read(number, 1)
    for wrong in (-1, 2):
        with pytest.raises(Refused, match="there is no image number"):
            gallery.read(wrong, 1)


def test_a_large_file_is_not_read(photos):
    with pytest.raises(Refused, match=r"limits\.megabytes"):
        find_gallery(options(photos)).read(0, 0.0001)


def test_a_folder_that_is_a_link_itself_is_the_one_given(photos, tmp_path):
    (tmp_path / "given").symlink_to(photos)
    assert len(find_gallery(options(tmp_path / "given")).names) == 2
    assert Gallery(tmp_path / "given").names == []


PATHS = [
    "/../secret.png", "/image/../../secret.png", "/image/..%2f..%2fsecret.png", "/image/%2e%2e/%2e%2e/secret.png",
    "/image/%252e%252e%252fsecret.png", "/image/a/x.png", "/image/0/../1", "/image/-1", "/image/2", "/image/0x0",
    "/image/0%00", "/image//etc/passwd", "/static/../../secret.png", "//etc/passwd", "/image/notes.txt", "/explain",
    "/image/999999999999999999999999", "/image/" + "9" * 5000, "http://127.0.0.1/etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_to_a_file(serve, ckpt, photos, path):
    server = serve(ckpt=ckpt, input=str(photos))
    answer = server.ask("GET", path)
    assert answer.status in (404, 405) and set(answer.json) == {"error"}
    assert server.ask("GET", "/image/0").body == (photos / server.explorer.gallery.names[0]).read_bytes()


def test_what_comes_back_is_an_image_to_every_browser(serve, ckpt, photos):
    (photos / "a" / "x.png").write_bytes(b"<script>alert(1)</script>")
    answer = serve(ckpt=ckpt, input=str(photos)).ask("GET", "/image/0")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == ("image/png", "nosniff")


def test_a_folder_without_images_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=f"^input={tmp_path} is a folder without images: give a folder of images"):
        find_gallery(options(tmp_path))
    with pytest.raises(UserError, match=r"nowhere is not a folder: give a folder of images"):
        find_gallery(options(tmp_path / "nowhere"))
