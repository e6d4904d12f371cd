"""What one training and one validation step do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from camexp.data.sampler import derive_seed
from camexp.errors import UserError
from camexp.features import FeatureCache
from camexp.features.batches import IGNORE_INDEX, Batch
from camexp.models import CAMClassifier
from camexp.models.checkpoint import METADATA, checkpoint_metadata

MakeOptimizer = Callable[..., torch.optim.Optimizer]
MakeScheduler = Callable[..., torch.optim.lr_scheduler.LRScheduler]


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
    ):
        super().__init__()
        self.classifier = classifier
        self.make_optimizer, self.make_scheduler = make_optimizer, make_scheduler
        self.steps_per_epoch, self.total_steps, self.seed = steps_per_epoch, total_steps, seed
        self.config = config or {}
        self.features = features
        self.val_accuracy = MulticlassAccuracy(len(classifier.classes), average="micro")
        self.val_loss = MeanMetric()

    def forward(self, batch: Batch) -> Tensor:
        head = self.classifier.head
        return head(head.activations(self.trunk_features(batch)))

    def trunk_features(self, batch: Batch) -> Tensor:
        """The trunk's output ``(B, D, h, w)`` for a batch: read where it is stored, computed and stored where not."""
        if self.features is None:
            return self.classifier.trunk_features(batch.images)
        return self.features.trunk_features(batch, self.classifier)

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
        logits = self(batch)
        summed = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="sum")
        sums = self._all_reduce_sum(torch.stack([summed.detach(), (logits.argmax(1) == labels).sum()]))
        penalty = head.l2_penalty()
        cross_entropy, accuracy = sums / count
        self.log_dict({"train/loss": cross_entropy, "train/l2": penalty, "train/accuracy": accuracy})
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])
        # Lightning would count from 0, a step behind the checkpoints and snapshots of the same moment
        self.log("step", float(self.trainer.global_step + 1))
        # gradients are averaged over the processes, whose shares may differ by an image
        return summed * processes / count + penalty

    def _all_reduce_sum(self, values: Tensor) -> Tensor:
        """The sum over all training processes."""
        return self.trainer.strategy.reduce(values, reduce_op="sum")  # type: ignore[return-value]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        logits, labels = self(batch).float(), batch.labels
        self.val_accuracy.update(logits, labels)
        self.val_loss.update(F.cross_entropy(logits, labels, reduction="none"))

    def on_validation_epoch_end(self) -> None:
        self.log_dict({"val/accuracy": self.val_accuracy.compute(), "val/loss": self.val_loss.compute()})
        self.log("step", float(self.trainer.global_step))
        self.val_accuracy.reset()
        self.val_loss.reset()

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.classifier.parameters() if parameter.requires_grad]
        try:
            optimizer = self.make_optimizer(trained)
        except (TypeError, ValueError) as error:
            raise UserError(f"optimizer: {error}") from error
        require_eps(optimizer)
        if self.make_scheduler is None:
            return optimizer
        scheduler = self.make_scheduler(optimizer, total_steps=self.total_steps, steps_per_epoch=self.steps_per_epoch)
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
