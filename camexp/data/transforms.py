"""What happens to a picture before it becomes a tensor: the ``transform`` group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from camexp.errors import UserError

Transform = Callable[[Image.Image], Image.Image]


def resize() -> Transform | None:
    """The recipe: nothing but the preprocessing's own resize to the input size, without cropping."""
    return None


def augment(
    size: Sequence[int],
    scale: Sequence[float] = (0.35, 1.0),
    ratio: Sequence[float] = (0.75, 1.3333),
    flip: float = 0.5,
) -> Transform:
    """Random resized crop and horizontal flip (Szegedy et al., CVPR 2015), for training images only.

    Args:
        size: ``(H, W)`` of the result.
        scale: the share of the image's area that a crop covers.
        ratio: the range of a crop's width over its height.
        flip: the probability of a mirror image.

    >>> augment((32, 48))(Image.new("RGB", (100, 80))).size
    (48, 32)
    """
    if not (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1):
        raise UserError(f"transform.train.scale={list(scale)} is out of range: expected 0 < low <= high <= 1")
    if not 0 <= flip <= 1:
        raise UserError(f"transform.train.flip={flip} is out of range: expected 0 to 1")
    from torchvision import transforms  # with it come all its networks: the other transforms need not wait for them

    crop = transforms.RandomResizedCrop(list(size), scale=tuple(scale), ratio=tuple(ratio))
    return transforms.Compose([crop, transforms.RandomHorizontalFlip(flip)])


def crop(size: Sequence[int], resize: int = 256, flip: float = 0.5) -> Transform:
    """A crop at a random place of the resized image, and horizontal flip, for training images only.

    Args:
        size: ``(H, W)`` of the crop.
        resize: pixels each way of the whole image, whatever its proportions.
        flip: the probability of a mirror image.

    >>> crop((32, 48), resize=64)(Image.new("RGB", (100, 80))).size
    (48, 32)
    """
    if isinstance(resize, bool) or not isinstance(resize, int) or not max(size) <= resize <= 8192:
        raise UserError(
            f"transform.train.resize={resize} is out of range: expected a whole number from transform.size to 8192"
        )
    if not 0 <= flip <= 1:
        raise UserError(f"transform.train.flip={flip} is out of range: expected 0 to 1")
    from torchvision import transforms

    steps = (transforms.Resize((resize, resize)), transforms.RandomCrop(list(size)))
    return transforms.Compose([*steps, transforms.RandomHorizontalFlip(flip)])


@dataclass(frozen=True)
class Flip:
    """A mirror image, or not: the only two views of a picture, so that features of both can be stored.

    Args:
        probability: of the mirror image.

    >>> Flip(probability=1.0).draw()
    'mirrored'
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise UserError(f"transform.train.probability={self.probability} is out of range: expected 0 to 1")

    def draw(self) -> str:
        """The name of one view, by chance."""
        return "mirrored" if float(torch.rand(())) < self.probability else ""

    def view(self, pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """That view of a picture ``(H, W, 3)``."""
        return pixels[:, ::-1] if name == "mirrored" else pixels

    def __call__(self, image: Image.Image) -> Image.Image:
        return Image.fromarray(self.view(np.asarray(image), self.draw()))


def flip(size: Sequence[int], probability: float = 0.5) -> Transform:
    """Horizontal flip of training images, nothing else; ``size`` is the preprocessing's business."""
    return Flip(probability)
