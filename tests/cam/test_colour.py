import matplotlib
import numpy as np
import pytest

from camexp import UserError
from camexp.cam import colour_map, colourise, overlay


@pytest.mark.parametrize("name", ["jet", "viridis", "inferno"])
def test_colours_are_matplotlibs(name):
    cam = np.random.default_rng(0).normal(size=(9, 7))
    table = (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    level = (cam - cam.min()) / np.ptp(cam) * 255
    ours = colourise(cam, name)
    below, above = table[np.floor(level).astype(int)], table[np.ceil(level).astype(int)]
    assert ((ours == below).all(-1) | (ours == above).all(-1)).all()


def test_overlay_mixes():
    rng = np.random.default_rng(0)
    image, cam = rng.integers(0, 256, (6, 5, 3), dtype=np.uint8), rng.normal(size=(6, 5))
    assert np.array_equal(overlay(image, cam, alpha=0.0), image)
    assert np.array_equal(overlay(image, cam, alpha=1.0), colourise(cam))


def test_a_flat_map_is_the_lowest_colour():
    assert np.array_equal(colourise(np.full((2, 2), 3.0)), np.broadcast_to(colour_map()[0], (2, 2, 3)))


def test_wrong_arguments():
    with pytest.raises(UserError, match="colormap=jett .* did you mean jet"):
        colour_map("jett")
    with pytest.raises(ValueError, match="differ in size"):
        overlay(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3)))
