"""What one training and one validation step do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from camexp.cam.maps import class_activation_maps, upsample
from camexp.data import ImageSet
from camexp.data.sampler import derive_seed
from camexp.errors import UserError
from camexp.features import FeatureCache
from camexp.features.batches import IGNORE_INDEX, Batch
from camexp.models import CAMClassifier
from camexp.models.checkpoint import METADATA, checkpoint_metadata
from camexp.regularisation import Draws, Regulariser, Targets
from camexp.training.optimization import MakeOptimizer, MakeScheduler, build_optimizer, build_scheduler


class CAMModule(pl.LightningModule):
    """Cross-entropy and the head's L2, minimised over what is not frozen.

    Args:
        classifier: the network.
        make_optimizer: called with the parameters that train.
        make_scheduler: called with the optimizer, ``total_steps`` and ``steps_per_epoch``; its
            schedule advances once a step. ``None`` keeps the learning rate.
        steps_per_epoch: for schedules that count in epochs.
        total_steps: for schedules that end with the training.
        seed: of the random numbers in each step (dropout).
        config: the run's configuration as plain values; every checkpoint carries it.
        features: where to store the trunk's output, which must be frozen.
        images: the image set; where it brings masks, validations measure whether the maps of the true classes peak
            on the objects: ``val/pointing``.
        head_lr: the head's learning rate; ``None``: the optimizer's, as of all other parameters.
        regulariser: a method that changes what the steps train on; attached to the classifier. ``None``: nothing does.
        label_smoothing: of the cross-entropy that is minimised, 0 to 1; validations measure it without.
    """

    def __init__(
        self,
        classifier: CAMClassifier,
        make_optimizer: MakeOptimizer,
        make_scheduler: MakeScheduler | None = None,
        steps_per_epoch: int = 1,
        total_steps: int = 1,
        seed: int = 0,
        config: dict[str, Any] | None = None,
        features: FeatureCache | None = None,
        images: ImageSet | None = None,
        head_lr: float | None = None,
        regulariser: Regulariser | None = None,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.label_smoothing = label_smoothing
        self.classifier = classifier
        self.make_optimizer, self.make_scheduler = make_optimizer, make_scheduler
        self.steps_per_epoch, self.total_steps, self.seed = steps_per_epoch, total_steps, seed
        self.config = config or {}
        self.features, self.head_lr = features, head_lr
        self.regulariser = regulariser or Regulariser()
        self.val_accuracy = MulticlassAccuracy(len(classifier.classes), average="micro")
        self.val_loss = MeanMetric()
        self.images = images
        self.val_pointing: Metric | None = None
        if images is not None and images.mask is not None:
            from camexp.evaluation.pointing_game import PointingGame  # whatever has no masks need not wait for it

            self.val_pointing = PointingGame()

    def forward(self, batch: Batch) -> Tensor:
        head = self.classifier.head
        return head(head.activations(self.trunk_features(batch)))

    def trunk_features(self, batch: Batch) -> Tensor:
        """The trunk's output ``(B, D, h, w)`` for a batch: read where it is stored, computed and stored where not."""
        if self.features is None:
            return self.classifier.trunk_features(batch.images)
        return self.features.trunk_features(batch, self.classifier)

    def on_fit_start(self) -> None:
        self.regulariser.all_reduce_sum = self._all_reduce_sum

    def on_train_epoch_start(self) -> None:
        order = getattr(self.trainer.datamodule, "order", None)  # type: ignore[attr-defined]
        if order is not None:
            order.set_epoch(self.trainer.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # a step's random numbers follow from its number: whatever came before it, interruptions among it
        torch.manual_seed(derive_seed(self.seed, self.trainer.global_step))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        labels, head = batch.labels, self.classifier.head
        count = self._all_reduce_sum((labels != IGNORE_INDEX).sum())
        processes = self.trainer.world_size
        if processes > 1:  # the same dropout as one process would draw for the whole batch
            head.rows = int(count), (torch.arange(len(labels)) * processes + self.trainer.global_rank) % int(count)
        logits, summed, added = self._losses(batch)
        sums = self._all_reduce_sum(torch.stack([summed.detach(), (logits.argmax(1) == labels).sum()]))
        penalty = head.l2_penalty()
        cross_entropy, accuracy = sums / count
        self.log_dict({"train/loss": cross_entropy, "train/l2": penalty, "train/accuracy": accuracy})
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        # Lightning would count from 0, a step behind the checkpoints and snapshots of the same moment
        self.log("step", float(self.trainer.global_step + 1))
        if added is not None:
            self.log("train/regularise", self._all_reduce_sum(added.detach()) / count)
            summed = summed + added
        # gradients are averaged over the processes, whose shares may differ by an image
        return summed * processes / count + penalty

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits ``(B, C)`` of a batch as the method of training changes it, their cross-entropy and the method's
        penalty, both summed."""
        head, regulariser, targets = self.classifier.head, self.regulariser, Targets(batch.labels)
        draws = Draws(*(head.rows or (len(batch.labels), torch.arange(len(batch.labels)))))
        regulariser.progress = self.trainer.global_step / self.total_steps
        regulariser.begin_step(draws)
        images, targets = regulariser.images(batch.images, targets, draws)
        features = self.trunk_features(batch._replace(images=images))
        features, targets = regulariser.features(features, targets, draws)
        penalties = None
        if regulariser.penalises:
            activations = head.activations(features)
            logits = head(activations)
            penalties = regulariser.penalty(head, features, activations, targets, draws)
        else:
            logits = head.from_features(features)
        regulariser.end_step()
        added = None if penalties is None else (penalties * (batch.labels != IGNORE_INDEX)).sum()
        return logits, targets.cross_entropy(logits, self.label_smoothing), added

    def _all_reduce_sum(self, values: Tensor) -> Tensor:
        """The sum over all training processes."""
        return self.trainer.strategy.reduce(values, reduce_op="sum")  # type: ignore[return-value]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        head, labels = self.classifier.head, batch.labels
        features = self.trunk_features(batch)
        activations = None if self.val_pointing is None else head.activations(features)
        logits = (head.from_features(features) if activations is None else head(activations)).float()
        self.val_accuracy.update(logits, labels)
        self.val_loss.update(F.cross_entropy(logits, labels, reduction="none"))
        if self.val_pointing is not None and activations is not None:
            maps = class_activation_maps(activations, head.linear.weight, labels[:, None])
            self._point(self.val_pointing, maps.cpu(), batch.indices.tolist())

    def _point(self, metric: Metric, maps: Tensor, indices: Sequence[int]) -> None:
        """Maps ``(B, 1, h, w)`` against the masks of the images, at their own sizes: as ``evaluate.py`` does it."""
        assert self.images is not None and self.images.mask is not None
        for cam, index in zip(maps, indices, strict=True):
            found = self.images.mask(self.images.paths[index])
            if found is None:
                continue
            mask = torch.from_numpy(found.copy())
            metric.update(upsample(cam[None], (mask.shape[0], mask.shape[1]))[0], mask[None])

    def on_validation_epoch_end(self) -> None:
        metrics: dict[str, Metric] = {"val/accuracy": self.val_accuracy, "val/loss": self.val_loss}
        if self.val_pointing is not None:
            metrics["val/pointing"] = self.val_pointing
        self.log_dict({name: metric.compute() for name, metric in metrics.items()})
        self.log("step", float(self.trainer.global_step))
        for metric in metrics.values():
            metric.reset()

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.classifier.parameters() if parameter.requires_grad]
        head = set(self.classifier.head.parameters())
        rest = [parameter for parameter in trained if parameter not in head]
        groups: list[Any] = trained
        if self.head_lr is not None:
            of_head = {"params": [parameter for parameter in trained if parameter in head], "lr": self.head_lr}
            groups = [{"params": rest}, of_head] if rest else [of_head]
        optimizer = build_optimizer(self.make_optimizer, groups)
        require_eps(optimizer)
        if self.make_scheduler is None:
            return optimizer
        scheduler = build_scheduler(self.make_scheduler, optimizer, self.total_steps, self.steps_per_epoch)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[METADATA] = checkpoint_metadata(self.classifier, self.config)


def require_eps(optimizer: torch.optim.Optimizer) -> None:
    """Make sure that what keeps an optimizer from dividing by zero is not itself zero in the weights' dtype.

    Raises:
        UserError: it is, as the usual 1e-08 in float16, whose smallest number is 6e-08.

    >>> require_eps(torch.optim.Adam([torch.zeros(1, dtype=torch.bfloat16)]))
    """
    for group in optimizer.param_groups:
        eps = group.get("eps")
        for dtype in {parameter.dtype for parameter in group["params"]}:
            if isinstance(eps, float) and eps > 0 and not torch.tensor(eps, dtype=dtype):
                name = str(dtype).removeprefix("torch.")
                raise UserError(
                    f"optimizer.eps={eps:g} is 0 in {name}, and {type(optimizer).__name__} would divide by it: take "
                    "+optimizer.eps=1e-4, optimizer=sgd, or precision=bf16-true"
                )
