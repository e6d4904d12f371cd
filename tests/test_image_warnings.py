"""Reading images says nothing and leaves other warnings alone."""

from __future__ import annotations

import threading
import warnings

import pytest
from PIL import Image

from camexp import images as module
from camexp.data import read_image
from tests.conftest import PATIENCE, paint

TRUNCATED = b"Exif\0\0II*\0\x08\0\0\0\x09\0\x0e\x01\x02\0\x20\0\0\0\xff\0\0\0"


def test_images_read_in_threads_leave_the_filters_alone(tmp_path, monkeypatch):
    """Two threads overlap so that each would restore what the other had set."""
    paths = [paint(tmp_path / f"{name}.png", (9, 9, 9)) for name in ("first", "second")]
    inside, leave = ({name: threading.Event() for name in ("first", "second")} for _ in range(2))
    decode = module.to_rgb

    def held(image: Image.Image) -> Image.Image:
        name = threading.current_thread().name
        inside[name].set()
        assert leave[name].wait(PATIENCE)
        return decode(image)

    monkeypatch.setattr(module, "to_rgb", held)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        threads = [threading.Thread(target=read_image, args=(path,), name=path.stem) for path in paths]
        for thread in threads:
            thread.start()
            assert inside[thread.name].wait(PATIENCE)
        for thread in threads:  # the first one ends first, though it is the second that began last
            leave[thread.name].set()
            thread.join()
        assert warnings.filters == filters
    with pytest.warns(UserWarning, match="elsewhere"):
        warnings.warn("elsewhere", stacklevel=1)


@pytest.mark.parametrize("kind", ["large", "odd EXIF"])
def test_what_pillow_warns_of_is_not_shown(tmp_path, monkeypatch, kind):
    Image.new("RGB", (48, 40)).save(tmp_path / "a.jpg", **({"exif": TRUNCATED} if kind == "odd EXIF" else {}))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000 if kind == "large" else 10**6)
    for quiet in (False, True):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            if quiet:
                module.ignore_pillow_warnings()
            assert read_image(tmp_path / "a.jpg").size == (48, 40)
            warnings.warn("elsewhere", stacklevel=1)
        told = [str(one.message) for one in shown if not isinstance(one.message, ResourceWarning)]
        assert told == ["elsewhere"] if quiet else len(told) > 1
