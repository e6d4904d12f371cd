"""Images that data sets of torchvision hold in memory, or draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from camexp.data.source import pixel_digest
from camexp.errors import reason
from camexp.images import UnreadableImage, to_rgb


class MemoryImages:
    """The images that data sets of torchvision hold in memory, those of one after those of the other."""

    def __init__(self, objects: Sequence[Any]):
        self.whole: Any = torch.utils.data.ConcatDataset(objects)

    def __len__(self) -> int:
        return len(self.whole)

    def read(self, index: int) -> Image.Image:
        try:
            return to_rgb(self.whole[index][0])
        except Exception as error:  # as read_image has it
            raise UnreadableImage(reason(error)) from error

    def digest(self, index: int) -> str:
        return pixel_digest(self.read(index))

    def key(self, index: int) -> bytes | None:
        return None


class FakeImages:
    """FakeData's images, the same numbers without its use of the process's random state, which others draw from.

    >>> from torchvision.datasets import FakeData
    >>> fake = FakeData(size=3, image_size=(3, 8, 8))
    >>> fake[2][0].tobytes() == FakeImages(fake).read(2).tobytes(), fake[2][1] == FakeImages(fake).label(2)
    (True, True)
    """

    def __init__(self, fake: Any):
        self.size, self.classes, self.seed = tuple(fake.image_size), fake.num_classes, fake.random_offset
        self.count = len(fake)

    def __len__(self) -> int:
        return self.count

    def _draw(self, index: int) -> tuple[torch.Tensor, int]:
        rng = torch.Generator().manual_seed(index + self.seed)
        pixels = torch.randn(self.size, generator=rng)
        return pixels, int(torch.randint(0, self.classes, (1,), generator=rng))

    def label(self, index: int) -> int:
        return self._draw(index)[1]

    def read(self, index: int) -> Image.Image:
        from torchvision.transforms.functional import to_pil_image

        return to_rgb(to_pil_image(self._draw(index)[0]))

    def digest(self, index: int) -> str:
        return pixel_digest(self.read(index))

    def key(self, index: int) -> bytes | None:
        return None
