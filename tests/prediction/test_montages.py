"""Montage pages come whole and in order, whatever thread is done first."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from camexp.config import PredictOptions
from camexp.prediction.montages import Montages
from camexp.prediction.results import Explanation


def explained(place: int) -> Explanation:
    logits = np.zeros(2, np.float32)
    pixels = np.full((40, 50, 3), place, np.uint8)
    return Explanation(
        Path(f"{place}.png"), pixels, logits, logits + 0.5, np.eye(3, dtype=np.float32)[None], np.array([1]), ["a", "b"]
    )


def options(pages: int | None, images: int = 4) -> PredictOptions:
    montage = {"images": images, "pages": pages, "tile": 60}
    return PredictOptions.read({"ckpt": "a", "input": "b", "cam": {}, "montage": montage})


@pytest.mark.parametrize(("pages", "expected"), [(None, 3), (2, 2), (9, 3)])
def test_pages(tmp_path, pages, expected):
    montages = Montages(tmp_path, 10, options(pages))
    threads = [
        Thread(target=lambda place=place: montages.add(place, None if place == 3 else explained(place)))
        for place in reversed(range(10))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert montages.written == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"montage_{n + 1:04d}.png" for n in range(expected)]


def test_a_page_of_nothing_but_skipped_images_is_not_written(tmp_path):
    montages = Montages(tmp_path, 2, options(None))
    montages.add(1, None)
    montages.add(0, None)
    assert montages.written == 0 and list(tmp_path.iterdir()) == []


def test_none_asked_for(tmp_path):
    montages = Montages(tmp_path, 1, options(None, images=0))
    montages.add(0, explained(0))
    assert list(tmp_path.iterdir()) == []
