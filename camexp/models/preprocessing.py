"""From a photograph to the tensor a network was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camexp.images import to_rgb

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# From so many times the input's size each way, torch resizes: eight times as fast as Pillow, and one byte in 2,000 is
# off by one. What is smaller is quick in Pillow too, and stays what it always was to the byte.
FAR_LARGER = 4


@dataclass(frozen=True)
class Preprocessing:
    """Resize without cropping, scale to [0, 1], normalise: ``(x - mean) / std``.

    Args:
        size: ``(H, W)`` in pixels, or ``None`` to keep each image's own.
        mean, std: one number a channel, RGB, for values in [0, 1].

    >>> to_tensor = Preprocessing(size=(32, 48))
    >>> to_tensor(Image.new("L", (100, 80))).shape
    torch.Size([3, 32, 48])
    """

    size: tuple[int, int] | None
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def resize(self, image: Image.Image | NDArray[np.uint8]) -> Image.Image:
        """The image, upright and RGB, at ``size`` (bilinear, antialiased where it shrinks).

        Args:
            image: of any mode; or ``(H, W, 3)`` bytes that are upright and RGB already.
        """
        if not isinstance(image, np.ndarray):
            image = to_rgb(image)
        height, width = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
        if self.size is not None and height >= FAR_LARGER * self.size[0] and width >= FAR_LARGER * self.size[1]:
            return Image.fromarray(_shrink(np.asarray(image), self.size))
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image)
        if self.size is None or image.size == self.size[::-1]:
            return image
        return image.resize(self.size[::-1], Image.Resampling.BILINEAR)

    def normalise(self, image: Image.Image) -> Tensor:
        """An RGB image as a float32 tensor ``(3, H, W)``."""
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).float().div_(255)
        return pixels.sub_(torch.tensor(self.mean).view(3, 1, 1)).div_(torch.tensor(self.std).view(3, 1, 1))

    def __call__(self, image: Image.Image | NDArray[np.uint8]) -> Tensor:
        """A PIL image of any mode and size, or ``(H, W, 3)`` RGB bytes, as a float32 tensor ``(3, H, W)``."""
        return self.normalise(self.resize(image))

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, for a checkpoint."""
        return {
            "size": None if self.size is None else list(self.size),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """The opposite of :meth:`to_dict`.

        >>> one = Preprocessing((32, 32), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> Preprocessing.from_dict(one.to_dict()) == one
        True
        """
        size = values["size"]
        return cls(
            None if size is None else (int(size[0]), int(size[1])),
            tuple(float(value) for value in values["mean"]),
            tuple(float(value) for value in values["std"]),
        )


def _shrink(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """``(H, W, 3)`` at another size by torch's integer version of Pillow's filter."""
    pixels = np.require(pixels, requirements=("C", "W"))  # what torch takes
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(image, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
