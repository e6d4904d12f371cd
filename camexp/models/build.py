"""From the ``model`` group of the configuration to a network."""

from __future__ import annotations

from collections.abc import Sequence

from camexp.config import ModelOptions
from camexp.models.classifier import CAMClassifier
from camexp.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camexp.models.weights import load_weights


def build_classifier(model: ModelOptions, classes: Sequence[str], size: tuple[int, int]) -> CAMClassifier:
    """A CAM network with pretrained or fresh weights, frozen as asked.

    Args:
        model: the group.
        classes: the class names, in the order of the logits.
        size: ``(H, W)`` of the input it is trained on.

    Raises:
        UserError: no such trunk, or weights that do not fit.

    >>> options = ModelOptions(trunk="vgg11", width=1 / 16, weights=None, freeze="none", head={"channels": 8})
    >>> build_classifier(options, ["duck", "llama"], (64, 64)).head.linear
    Linear(in_features=8, out_features=2, bias=False)
    """
    head = {"kind": model.head} if isinstance(model.head, str) else model.head.to_dict()
    classifier = CAMClassifier(
        model.trunk, classes, Preprocessing(size),
        width=model.width, head=head, output_stride=model.output_stride, out_layers=model.out_layers,
    )  # fmt: skip
    mean, std = (
        (IMAGENET_MEAN, IMAGENET_STD)
        if model.weights is None
        else load_weights(classifier.trunk, model.weights, model.trunk)
    )
    classifier.preprocessing = Preprocessing(size, mean, std)
    classifier.freeze(model.freeze)
    return classifier
