"""What a method of training may do in a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor, nn

from camexp.errors import UserError
from camexp.models import CAMClassifier
from camexp.models.head import CAMHead
from camexp.regularisation.step import Draws, Targets

Where = Literal["images", "features"]


class Regulariser(nn.Module):
    """A method of training: it changes images, features or the loss, in training steps only, never a trained network.

    Every method of this class may be left as it is: nothing then happens there. What a method remembers from step to
    step is a buffer, which checkpoints hold; it has no parameters.

    Attributes:
        features_recur: whether the trunk gives the same of an image in each epoch, so that a frozen one's features can
            be stored. Not where images are changed, or what is computed inside the trunk.
        progress: how much of the training is over, 0 to 1; set before each step.
        all_reduce_sum: the sum of a tensor over all training processes; set before the training.
    """

    features_recur = True

    def __init__(self) -> None:
        super().__init__()
        self.progress = 0.0
        self.all_reduce_sum: Callable[[Tensor], Tensor] = lambda values: values  # of one process

    @property
    def penalises(self) -> bool:
        """Whether it adds to the loss: only then the activations of each step are computed for it."""
        return type(self).penalty is not Regulariser.penalty

    def attach(self, classifier: CAMClassifier) -> None:
        """Called once, before training, with the network, frozen where it is to be.

        Raises:
            UserError: a network that this method does not fit.
        """

    def begin_step(self, draws: Draws) -> None:
        """Called at the beginning of each step."""

    def end_step(self) -> None:
        """Called before the gradients are computed."""

    def images(self, images: Tensor, targets: Targets, draws: Draws) -> tuple[Tensor, Targets]:
        """Images ``(B, 3, H, W)``, preprocessed, before the trunk."""
        return images, targets

    def features(self, features: Tensor, targets: Targets, draws: Draws) -> tuple[Tensor, Targets]:
        """The trunk's output ``(B, D, h, w)``, before the head."""
        return features, targets

    def penalty(
        self, head: CAMHead, features: Tensor, activations: Tensor, targets: Targets, draws: Draws
    ) -> Tensor | None:
        """What is added to the loss of each image, ``(B,)``.

        Args:
            head: the network's.
            features: what the head was given, ``(B, D, h, w)``.
            activations: what the maps weigh, ``(B, K, h, w)``.
        """
        return None


class Change(Regulariser):
    """A method that changes images, or with ``where=features`` the trunk's output in the same way.

    Args:
        where: ``images`` or ``features``.

    Raises:
        UserError: another word.
    """

    def __init__(self, where: str):
        super().__init__()
        if where not in get_args(Where):
            raise UserError(f"regularise.where={where} is neither images nor features: choose one of them")
        self.features_recur = where == "features"
        self.stride = 1

    def attach(self, classifier: CAMClassifier) -> None:
        self.stride = classifier.trunk.stride

    def images(self, images: Tensor, targets: Targets, draws: Draws) -> tuple[Tensor, Targets]:
        return (images, targets) if self.features_recur else self.change(images, targets, draws, stride=1)

    def features(self, features: Tensor, targets: Targets, draws: Draws) -> tuple[Tensor, Targets]:
        return self.change(features, targets, draws, self.stride) if self.features_recur else (features, targets)

    def change(self, values: Tensor, targets: Targets, draws: Draws, stride: int) -> tuple[Tensor, Targets]:
        """Images, or features of ``stride`` pixels a place: ``(B, D, h, w)``."""
        raise NotImplementedError


def require_share(option: str, value: float, low: float = 0.0, high: float = 1.0) -> float:
    """A number between two others, both included.

    Raises:
        UserError: another number, or none.

    >>> require_share("regularise.threshold", 2)
    Traceback (most recent call last):
    camexp.errors.UserError: regularise.threshold=2 is out of range: expected 0 to 1
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(f"{option}={value} is out of range: expected {low:g} to {high:g}")
    return value
