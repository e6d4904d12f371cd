"""Labelled images as batches, in part as features that are known already."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from camexp.data.imageset import ImageSet
from camexp.data.order import Draw, randomness_from
from camexp.data.transforms import Flip, Transform
from camexp.errors import UserError
from camexp.features.digests import digests_of
from camexp.features.store import FeatureStore
from camexp.images import UnreadableImage, read_image
from camexp.models.preprocessing import Preprocessing

UNCOUNTED = -100  # the label that no loss and no metric looks at


class Sample(NamedTuple):
    """One image: as the network's input ``(3, H, W)``, or as stored features ``(h, w, D)``."""

    image: Tensor | None
    stored: Tensor | None
    name: str
    label: int
    place: int


class Batch(NamedTuple):
    """B images, of which N have stored features and M = B - N are to go through the trunk.

    Attributes:
        images: ``(M, 3, H, W)``.
        labels, places: ``(B,)`` the class of each image (``UNCOUNTED`` for one that is not to count), and its place
            in the image set.
        stored: ``(N, h, w, D)`` in the store's dtype, or ``None`` if N is 0.
        is_stored: ``(B,)`` bool.
        names: M names under which to store the others' features; none without a store.
    """

    images: Tensor
    labels: Tensor
    places: Tensor
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
        places=torch.tensor([sample.place for sample in samples]),
        stored=torch.stack(stored) if stored else None,
        is_stored=torch.tensor([sample.stored is not None for sample in samples]),
        names=tuple(sample.name for sample in samples if sample.stored is None and sample.name),
    )


class LabelledImages(Dataset[Sample]):
    """The images at the chosen places of an image set.

    Args:
        images: the image set.
        places: which of its images.
        preprocessing: the network's.
        transform: random changes before the preprocessing.
        store: where features of these images may be found.
    """

    def __init__(
        self,
        images: ImageSet,
        places: Sequence[int],
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        store: FeatureStore | None = None,
    ):
        self.images, self.places = images, places
        self.preprocessing, self.transform, self.store = preprocessing, transform, store
        if store is not None:
            self._digests = digests_of(images.root)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, item: int | Draw) -> Sample:
        draw = item if isinstance(item, Draw) else Draw(item)
        place = self.places[draw.item]
        sample = self._read(place, draw.key)
        return sample if draw.counted else sample._replace(label=UNCOUNTED)

    def _read(self, place: int, key: tuple[int, ...]) -> Sample:
        # by its key an image changes the same way in whichever process it is read
        with randomness_from(*key) if key and self.transform is not None else nullcontext():
            return self._sample(place)

    def _sample(self, place: int) -> Sample:
        path, label = self.images.paths[place], self.images.labels[place]
        view = self.transform.draw() if isinstance(self.transform, Flip) else ""
        name = ""
        try:
            if self.store is not None:
                name = self._digests.of(path) + view
                stored = self.store.read(name)
                if stored is not None:
                    return Sample(None, stored, name, label, place)
            picture = read_image(path)
        except (UnreadableImage, OSError) as error:
            raise UserError(f"{path} cannot be decoded ({error}): remove it, or leave dataset.check=true") from error
        if isinstance(self.transform, Flip):
            picture = self.transform.view(picture, view)
        elif self.transform is not None:
            picture = self.transform(picture)
        return Sample(self.preprocessing(picture), None, name, label, place)
