"""From the ``model`` group of the configuration to a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camexp.errors import UserError
from camexp.models.classifier import CAMClassifier
from camexp.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camexp.models.weights import load_weights


def build_classifier(model: Mapping[str, Any], classes: Sequence[str], size: tuple[int, int]) -> CAMClassifier:
    """A CAM network with pretrained or fresh weights, frozen as asked.

    Args:
        model: ``trunk``, ``width``, ``weights``, ``freeze`` and ``head``, as in ``conf/model/``.
        classes: the class names, in the order of the logits.
        size: ``(H, W)`` of the input it is trained on.

    Raises:
        UserError: an option out of range, or weights that do not fit.

    >>> options = dict(trunk="vgg11", width=1 / 16, weights=None, freeze="none", head=dict(channels=8))
    >>> build_classifier(options, ["duck", "llama"], (64, 64)).head.linear
    Linear(in_features=8, out_features=2, bias=False)
    """
    given = model["head"]
    if isinstance(given, str) and given not in ("cam", "gap"):
        raise UserError(f"model.head={given} is not a head: expected cam, gap, or its options as model.head.dropout=0")
    head = {"kind": given} if isinstance(given, str) else dict(given)
    _check_head(head)
    source, what = model["weights"], str(model["freeze"])
    if source is None and what != "none":
        raise UserError(
            f"model.freeze={what} with model.weights=null would freeze random convolutions: "
            "give model.weights=imagenet or a path, or model.freeze=none"
        )
    classifier = CAMClassifier(
        str(model["trunk"]), classes, Preprocessing(size), width=float(model["width"]), head=head,
        output_stride=model.get("output_stride"),
    )  # fmt: skip
    mean, std = (
        (IMAGENET_MEAN, IMAGENET_STD)
        if source is None
        else load_weights(classifier.trunk, str(source), str(model["trunk"]))
    )
    classifier.preprocessing = Preprocessing(size, mean, std)
    classifier.freeze(what)
    return classifier


def _check_head(head: Mapping[str, Any]) -> None:
    ranges = {"channels": (1, 65536), "dropout": (0, 0.99), "init_std": (1e-8, 10), "l2": (0, 1e6)}
    for name, (low, high) in ranges.items():
        value = head.get(name, low)
        if not isinstance(value, (int, float)) or not low <= value <= high:
            raise UserError(f"model.head.{name}={value} is out of range: expected {low:g} to {high:g}")
