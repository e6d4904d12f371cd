"""Image sets as batches for Lightning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from camexp.data.imageset import ImageSet
from camexp.data.sampler import EpochBatchSampler
from camexp.data.splits import Split, class_table
from camexp.data.transforms import Transform
from camexp.devices import default_workers
from camexp.errors import UserError
from camexp.features import FeatureCache
from camexp.features.batches import LabelledImages, Sample, collate
from camexp.files import write_csv
from camexp.models.preprocessing import Preprocessing
from camexp.run_files import SPLITS


class CAMDataModule(pl.LightningDataModule):
    """Batches for training and validation, see :class:`Batch`.

    Args:
        images: the data set.
        split: training and validation images.
        preprocessing: the network's.
        transform: random changes to training images, before the preprocessing.
        batch_size: images a step, over all processes together.
        num_workers: data-loader workers; ``None``: by the number of cores.
        seed: of the images' order and of their random changes.
        world_size: how many training processes share a batch.
        features: where a frozen trunk's output is stored, if it is.
    """

    def __init__(
        self,
        images: ImageSet,
        split: Split,
        preprocessing: Preprocessing,
        transform: Transform | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        seed: int = 0,
        world_size: int = 1,
        features: FeatureCache | None = None,
    ):
        super().__init__()
        if not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"batch_size={batch_size} is out of range: expected a whole number above 0")
        if batch_size % world_size:
            raise UserError(f"batch_size={batch_size} does not divide among {world_size} processes")
        if num_workers is not None and (not isinstance(num_workers, int) or num_workers < 0):
            raise UserError(f"num_workers={num_workers} is out of range: expected null or a whole number from 0")
        if len(split.val) < world_size:
            raise UserError(f"{len(split.val)} validation images are too few for {world_size} processes: take fewer")
        self.images, self.split = images, split
        self.features = features
        store = features.store if features else None
        self.train_set = LabelledImages(images, split.train, preprocessing, transform, store)
        self.val_set = LabelledImages(images, split.val, preprocessing, store=store)
        self.batch_size, self.seed = batch_size, seed
        self.world_size = world_size
        self.start = (0, 0)  # the epoch and the batch in it to resume from
        self.order: EpochBatchSampler | None = None
        self.num_workers = default_workers(world_size) if num_workers is None else num_workers

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training images."""
        return -(-len(self.split.train) // self.batch_size)

    def train_dataloader(self) -> DataLoader[Sample]:
        self.order = EpochBatchSampler(len(self.train_set), self.batch_size, self.seed, self._rank, self.world_size)
        self.order.start_at(*self.start)
        return self.loader(self.train_set, self.order)

    def val_dataloader(self) -> DataLoader[Sample]:
        # each rank takes every world_size-th image: a padded share would count some images double
        indices = self.val_set.indices[self._rank :: self.world_size]
        return self.loader(LabelledImages(self.images, indices, self.val_set.preprocessing, store=self.val_set.store))

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer is not None else 0

    def loader(self, data: LabelledImages, order: EpochBatchSampler | None = None) -> DataLoader[Sample]:
        """Batches of any of these images; one after the other without an order."""
        batches: dict[str, Any] = (
            {"batch_sampler": order} if order else {"batch_size": self.batch_size // self.world_size}
        )
        return DataLoader(
            data,
            **batches,
            collate_fn=collate,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def write_lists(self, folder: Path) -> None:
        """``splits/train.csv``, ``splits/val.csv`` and ``classes.csv``."""
        images, paths = self.images, self.images.path_array
        for name in ("train", "val"):
            indices: Sequence[int] = getattr(self.split, name)
            rows = (
                (os.fsdecode(paths.encoded(index)), label := images.labels[index], images.classes[label])
                for index in indices
            )
            write_csv(folder / SPLITS / f"{name}.csv", ("path", "label", "class"), rows)
        write_csv(folder / "classes.csv", ("label", "name", "train", "val"), class_table(self.images, self.split))
