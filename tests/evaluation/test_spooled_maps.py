"""What an evaluation holds does not grow with the maps' size."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from camexp import evaluation
from camexp.data import find_imagefolder
from camexp.evaluation.spooled_maps import SpooledMaps
from tests.conftest import ROOT

SIDE = 256


@pytest.fixture
def heatmaps(colours, tmp_path) -> tuple[Path, Path]:
    """Smooth maps of 256 kB each, and boxes."""
    rows = ["image,x0,y0,x1,y1"]
    for number, path in enumerate(sorted(colours.rglob("*.png"))):
        target = tmp_path / "maps" / path.relative_to(colours).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        across = np.exp(-(((np.arange(SIDE) - 8 * number) / 60) ** 2))
        np.save(target, np.outer(across, across).astype(np.float32))
        rows.append(f"{path.relative_to(colours)},3,4,20,30")
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    return tmp_path / "maps", tmp_path / "boxes.csv"


def test_heatmaps_are_not_kept(colours, heatmaps, tmp_path):
    overrides = [
        f"heatmaps={heatmaps[0]}", f"boxes={heatmaps[1]}", "dataset=imagefolder", f"dataset.root={colours}",
        f"output={tmp_path / 'out'}", "sheet.images=2", "size=64",
    ]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        options = evaluation.read_options(compose("evaluate", overrides))
    images = find_imagefolder(str(colours))

    def held(count: int) -> tuple[int, evaluation.outcome.Outcome]:
        few = images.take(range(count))
        truth = evaluation.find_truth(options, few)
        gc.collect()
        tracemalloc.start()
        outcome = evaluation.evaluate(None, few, truth, options)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return size, outcome

    held(2)  # what is imported and remembered on the way
    (few, _), (many, outcome) = held(4), held(24)
    assert (many - few) / 20 < 4 * SIDE * SIDE / 20, "less than a twentieth of its map is held of an image"
    figures = evaluation.report(outcome, options)["methods"]["heatmaps"]
    assert figures["GT_known_localisation"] == pytest.approx(figures["MaxBoxAcc"])
    assert (tmp_path / "out" / "best.png").exists()


def test_large_maps_come_back_from_a_file():
    rng = np.random.default_rng(0)
    arrays = [rng.random((5, side, side), dtype=np.float32) for side in (14, 56, 300, 15, 64)]
    spooled = SpooledMaps()
    tracemalloc.start()
    again = [spooled.add(array) for array in arrays]
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert size < 40_000 < sum(array.nbytes for array in arrays) / 10
    for number in (2, 0, 4, 1, 3, 2):
        assert np.array_equal(again[number](), arrays[number])
    assert spooled.add(arrays[1][:0])().shape == (0, 56, 56)


def test_a_small_map_does_not_keep_its_batch():
    batch = np.zeros((1000, 1, 14, 14), np.float32)
    assert SpooledMaps().add(batch[3])().base is None
