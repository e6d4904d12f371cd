"""Labelled images as batches, in part as stored features."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from camexp.data.imageset import ImageSet
from camexp.data.sampler import SampleIndex, seeded_rng
from camexp.data.transforms import Flip, Transform
from camexp.errors import UserError
from camexp.features.digests import digests_of
from camexp.features.store import FeatureStore
from camexp.images import UnreadableImage
from camexp.models.preprocessing import Preprocessing

IGNORE_INDEX = -100  # the label that no loss and no metric looks at


class Sample(NamedTuple):
    """One image: as the network's input ``(3, H, W)``, or as stored features ``(h, w, D)``."""

    image: Tensor | None
    stored: Tensor | None
    name: str
    label: int
    image_index: int


class Batch(NamedTuple):
    """B images, of which N have stored features and M = B - N are to go through the trunk.

    Attributes:
        images: ``(M, 3, H, W)``.
        labels, indices: ``(B,)`` the class of each image (``IGNORE_INDEX`` for one that is not to count), and its index
            in the image set.
        stored: ``(N, h, w, D)`` in the store's dtype, or ``None`` if N is 0.
        is_stored: ``(B,)`` bool.
        names: M names under which to store the others' features; none without a store.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    stored: Tensor | None = None
    is_stored: Tensor | None = None
    names: tuple[str, ...] = ()


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as a batch."""
    images = [sample.image for sample in samples if sample.image is not None]
    stored = [sample.stored for sample in samples if sample.stored is not None]
    return Batch(
        images=torch.stack(images) if images else torch.empty(0),
        labels=torch.tensor([sample.label for sample in samples]),
        indices=torch.tensor([sample.image_index for sample in samples]),
        stored=torch.stack(stored) if stored else None,
        is_stored=torch.tensor([sample.stored is not None for sample in samples]),
        names=tuple(sample.name for sample in samples if sample.stored is None and sample.name),
    )


class LabelledImages(Dataset[Sample]):
    """The images at the chosen indices of an image set.

    Args:
        images: the image set.
        indices: which of its images.
        preprocessing: the network's.
        transform: random changes before the preprocessing.
        store: where features of these images may be found.
    """

    def __init__(
        self,
        images: ImageSet,
        indices: Sequence[int],
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        store: FeatureStore | None = None,
    ):
        self.images, self.indices = images, indices
        self.preprocessing, self.transform, self.store = preprocessing, transform, store
        if store is not None:
            self._digests = digests_of(images.root)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: int | SampleIndex) -> Sample:
        sampled = item if isinstance(item, SampleIndex) else SampleIndex(item)
        index = self.indices[sampled.image]
        sample = self._read(index, sampled.key)
        return sample if sampled.counted else sample._replace(label=IGNORE_INDEX)

    def _read(self, index: int, key: tuple[int, ...]) -> Sample:
        # by its key an image changes the same way in whichever process it is read
        with seeded_rng(*key) if key and self.transform is not None else nullcontext():
            return self._sample(index)

    def _sample(self, index: int) -> Sample:
        label = self.images.labels[index]
        view = self.transform.draw() if isinstance(self.transform, Flip) else ""
        name = ""
        try:
            if self.store is not None:
                name = self._digests.of_image(self.images, index) + view
                stored = self.store.read(name)
                if stored is not None:
                    return Sample(None, stored, name, label, index)
            whole = self.transform is None or isinstance(self.transform, Flip)
            # Pillow's images are what other transforms change
            picture = self.images.pixels(index) if whole else self.images.read(index)
        except (UnreadableImage, OSError) as error:
            path = self.images.paths[index]
            raise UserError(f"{path} cannot be decoded ({error}): remove it, or leave dataset.check=true") from error
        if isinstance(picture, np.ndarray):
            picture = self.transform.view(picture, view) if isinstance(self.transform, Flip) else picture
        elif self.transform is not None:
            picture = self.transform(picture)
        return Sample(self.preprocessing(picture), None, name, label, index)
