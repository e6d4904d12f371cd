"""The files of one image."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from camexp.config import PredictOptions
from camexp.prediction import results
from camexp.prediction.results import Explanation, write_results


def test_one_mat_file_is_written_at_a_time(tmp_path, monkeypatch):
    """SciPy's writer is not made for threads: two at once give a file that cannot be read."""
    real, at_once, most = results.savemat, [], []

    def savemat(*arguments, **more):
        at_once.append(0)
        most.append(len(at_once))
        time.sleep(0.02)  # so that others come meanwhile, if they may
        real(*arguments, **more)
        at_once.pop()

    monkeypatch.setattr(results, "savemat", savemat)
    options = PredictOptions(ckpt="a.ckpt", input="in", cam={}, overlays=False)
    (tmp_path / "maps").mkdir()
    image = Explanation(
        Path("a.png"), np.zeros((8, 8, 3), np.uint8), np.zeros(2, np.float32), np.full(2, 0.5, np.float32),
        np.zeros((1, 2, 2), np.float32), np.array([0]), ("a", "b"),
    )  # fmt: skip
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: write_results(image, str(number), ("a", "b"), tmp_path, options), range(16)))
    assert len(most) == 16 and max(most) == 1
    assert len({path.read_bytes() for path in (tmp_path / "maps").iterdir()}) == 1
