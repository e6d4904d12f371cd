"""Crops at random places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from camexp import UserError
from camexp.data.transforms import crop


def test_a_crop_is_a_window_of_the_resized_image_or_its_mirror_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8))
    resized = np.asarray(image.resize((40, 40), Image.Resampling.BILINEAR))
    windows = {resized[y : y + 32, x : x + 32].tobytes(): (y, x) for y in range(9) for x in range(9)}
    mirrored = {
        np.asarray(resized[y : y + 32, x : x + 32])[:, ::-1].tobytes(): (y, x) for y in range(9) for x in range(9)
    }
    torch.manual_seed(0)
    cut = crop((32, 32), resize=40)
    drawn = [np.asarray(cut(image)).tobytes() for _ in range(60)]
    assert all((one in windows) != (one in mirrored) for one in drawn)
    assert 15 < sum(one in windows for one in drawn) < 45
    assert len({(windows | mirrored)[one] for one in drawn}) > 25


@pytest.mark.parametrize(
    ("options", "said"), [({"resize": 31}, "resize=31 "), ({"resize": True}, "resize=True"), ({"flip": 2}, "flip=2 ")]
)
def test_options_out_of_range(options, said):
    with pytest.raises(UserError, match=f"^transform.train.{said}"):
        crop((32, 32), **options)
