"""Heat over photographs."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.errors import UserError, nearest


@lru_cache
def colour_map(name: str = "jet") -> NDArray[np.uint8]:
    """A matplotlib colour map as a table ``(256, 3)`` of RGB bytes.

    Raises:
        UserError: matplotlib knows no such map, or is not installed, without which there is ``jet`` only.

    >>> colour_map("jet")[0], colour_map("jet")[255]
    (array([  0,   0, 127], dtype=uint8), array([127,   0,   0], dtype=uint8))
    """
    if name == "jet":
        return _jet()
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(f"colormap={name} needs matplotlib: pip install matplotlib, or take colormap=jet") from error
    if name not in matplotlib.colormaps:
        raise UserError(
            f"colormap={name} is not a matplotlib colour map: {nearest(name, sorted(matplotlib.colormaps))}"
        )
    return (matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.uint8)


def _jet() -> NDArray[np.uint8]:
    """Matplotlib's ``jet``, from its own corners: the default must not wait for matplotlib, nor need it."""
    red = [0, 0.35, 0.66, 0.89, 1], [0, 0, 1, 1, 0.5]
    green = [0, 0.125, 0.375, 0.64, 0.91, 1], [0, 0, 1, 1, 0, 0]
    blue = [0, 0.11, 0.34, 0.65, 1], [0.5, 1, 1, 0, 0]
    levels = np.linspace(0, 1, 256)
    return np.stack([np.interp(levels, *corners) * 255 for corners in (red, green, blue)], axis=1).astype(np.uint8)


def colourise(
    cam: NDArray[np.floating], name: str = "jet", normalisation: Normalisation = MIN_MAX
) -> NDArray[np.uint8]:
    """A map ``(H, W)``, normalised, as RGB bytes ``(H, W, 3)``.

    >>> colourise(np.array([[0.0, 1.0]]))
    array([[[  0,   0, 127],
            [127,   0,   0]]], dtype=uint8)
    """
    return np.asarray(_heat(cam, name, normalisation))


def overlay(
    image: NDArray[np.uint8], cam: NDArray[np.floating], name: str = "jet", alpha: float = 0.5,
    normalisation: Normalisation = MIN_MAX,
) -> NDArray[np.uint8]:  # fmt: skip
    """A map over the image of the same size.

    Args:
        image: ``(H, W, 3)`` RGB bytes.
        cam: ``(H, W)``, any range.
        name: a matplotlib colour map.
        alpha: the heat's share, 0 (photograph only) to 1 (heat only).
        normalisation: which values have the first and the last colour.

    Raises:
        ValueError: sizes that differ, or alpha outside [0, 1].

    >>> overlay(np.full((1, 2, 3), 100, np.uint8), np.array([[0.0, 1.0]]))
    array([[[ 50,  50, 113],
            [113,  50,  50]]], dtype=uint8)
    """
    if image.shape[:2] != cam.shape:
        raise ValueError(f"image {image.shape[:2]} and map {cam.shape} differ in size")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha={alpha} is not in [0, 1]")
    return np.asarray(Image.blend(Image.fromarray(image), _heat(cam, name, normalisation), alpha))


def _heat(cam: NDArray[np.floating], name: str, normalisation: Normalisation) -> Image.Image:
    """As a palette image Pillow colours it in a tenth of NumPy's time."""
    low, high = (float(limit) for limit in normalisation.limits(torch.from_numpy(np.asarray(cam))))
    scale = np.float32(255 / (high - low) if high > low else 0)
    levels = ((cam - low) * scale).clip(0, 255) + np.float32(0.5)
    heat = Image.fromarray(levels.astype(np.uint8)).convert("P")
    heat.putpalette(colour_map(name).tobytes())
    return heat.convert("RGB")
