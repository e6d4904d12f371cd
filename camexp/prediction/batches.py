"""Images of all sizes, decoded ahead, in batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from camexp.data import ImageSet
from camexp.models.preprocessing import Preprocessing
from camexp.models.trunks import Trunk

if TYPE_CHECKING:  # a prediction without stored features needs nothing of them
    from camexp.features import FeatureCache

# A first VGG layer keeps 256 bytes a pixel: two gigabytes at most.
MOST_PIXELS = 8 * 2**20
TOGETHER = 4  # images that a process which decodes hands over at once: few, for large photographs wait in memory too
MOST_OVERTAKEN = 8  # batches: results are written in the order of the images, so what overtakes others waits in memory


@dataclass(frozen=True)
class DecodedImage:
    """One decoded input: its index in the list, the network's input, the photograph itself; where it is asked for the
    digest of its file, and the features that are stored of it, with the name under which they are to be."""

    index: int
    tensor: Tensor
    pixels: NDArray[np.uint8]
    digest: str = ""
    stored: Tensor | None = None
    name: str = ""


@dataclass(frozen=True)
class Unreadable:
    """One input that could not be used, and why."""

    index: int
    reason: str


class _Pictures(Dataset[DecodedImage | Unreadable]):
    def __init__(self, images: ImageSet, indices: range, preprocessing: Preprocessing, digests: bool,
                 cache: FeatureCache | None):  # fmt: skip
        self.images, self.indices, self.preprocessing = images, indices, preprocessing
        self.store = cache.store if cache else None
        self.digests = digests or cache is not None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int) -> DecodedImage | Unreadable:
        index = self.indices[item]
        try:
            pixels = self.images.pixels(index)
            digest = self.images.digest(index) if self.digests else ""
        except OSError as error:
            return Unreadable(index, str(error))
        tensor = self.preprocessing(pixels)
        if min(tensor.shape[-2:]) < Trunk.min_size:
            height, width = pixels.shape[:2]
            return Unreadable(
                index,
                f"{width}×{height} pixels, at least {Trunk.min_size} each way are needed (try resize=224)",
            )
        stored = None if self.store is None else self.store.read(digest)
        return DecodedImage(index, tensor, pixels, digest, stored, digest)


def batches(
    images: ImageSet,
    preprocessing: Preprocessing,
    batch_size: int,
    num_workers: int,
    indices: range | None = None,
    block: int | None = None,
    digests: bool = False,
    cache: FeatureCache | None = None,
) -> Iterator[list[DecodedImage] | Unreadable]:
    """Pictures of one input size together, at most ``batch_size``; what cannot be read by itself.

    An image waits until its size fills a batch, but no more than four batches' worth of images wait:
    then the size that waits with most goes as it is. An image of a rare size goes too once eight batches' worth have
    overtaken it. Memory does not grow with the number of images.

    Args:
        images: all of them.
        preprocessing: the network's.
        batch_size: images of a batch, at most.
        num_workers: processes that decode ahead.
        indices: which of the images; ``None``: all.
        block: no image waits beyond the next multiple of this index, so that batches are the same from there on,
            whether the images before it were asked for or not; ``None``: there are no such limits.
        digests: with the digest of each file's bytes.
        cache: with the features that are stored in it.
    """
    indices = range(len(images)) if indices is None else indices
    loader = DataLoader(
        _Pictures(images, indices, preprocessing, digests, cache),
        batch_size=TOGETHER,
        collate_fn=_pack,
        num_workers=num_workers,
        prefetch_factor=2 if num_workers else None,
    )
    waiting: dict[torch.Size, list[DecodedImage]] = {}
    for picture in chain.from_iterable(map(_unpack, loader)):
        if block and picture.index % block == 0:
            yield from waiting.values()
            waiting.clear()
        if waiting:  # sizes stand in the order of their first images
            size, pictures = next(iter(waiting.items()))
            if picture.index - pictures[0].index > MOST_OVERTAKEN * batch_size:
                yield waiting.pop(size)
        if isinstance(picture, Unreadable):
            yield picture
            continue
        size = picture.tensor.shape
        waiting.setdefault(size, []).append(picture)
        if len(waiting[size]) >= _most(size, batch_size):
            yield waiting.pop(size)
        elif sum(map(len, waiting.values())) >= 4 * batch_size or _pixels(waiting) > 4 * MOST_PIXELS:
            yield waiting.pop(max(waiting, key=lambda other: len(waiting[other]) * other.numel()))
    yield from waiting.values()


class _Packed(NamedTuple):
    """Some images on their way from a process that decodes: each tensor is a handshake of both processes, so that
    those of one size are one."""

    pictures: list[DecodedImage | Unreadable]  # without their tensors
    sizes: list[int]  # of each that is decoded: which of the tensors
    tensors: list[Tensor]


def _pack(pictures: list[DecodedImage | Unreadable]) -> _Packed:
    tensors: dict[torch.Size, list[Tensor]] = {}
    decoded = [picture.tensor for picture in pictures if isinstance(picture, DecodedImage)]
    for tensor in decoded:
        tensors.setdefault(tensor.shape, []).append(tensor)
    sizes = [list(tensors).index(tensor.shape) for tensor in decoded]
    nothing = torch.empty(0)
    bare = [replace(one, tensor=nothing) if isinstance(one, DecodedImage) else one for one in pictures]
    return _Packed(bare, sizes, [torch.stack(some) for some in tensors.values()])


def _unpack(packed: _Packed) -> Iterator[DecodedImage | Unreadable]:
    stacks = [iter(stack) for stack in packed.tensors]
    sizes = iter(packed.sizes)
    for one in packed.pictures:
        yield replace(one, tensor=next(stacks[next(sizes)])) if isinstance(one, DecodedImage) else one


def _most(size: torch.Size, batch_size: int) -> int:
    return max(1, min(batch_size, MOST_PIXELS // (size[-1] * size[-2])))


def _pixels(waiting: dict[torch.Size, list[DecodedImage]]) -> int:
    return sum(len(pictures) * size[-1] * size[-2] for size, pictures in waiting.items())
