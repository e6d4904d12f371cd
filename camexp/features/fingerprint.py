"""What decides a stored feature: the picture's bytes, and all that turns them into numbers."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from camexp.models.classifier import CAMClassifier

FORMAT = 3  # to be raised when reading, resizing, computing or storing changes the numbers


def describe_trunk(classifier: CAMClassifier, dtype: str, device: str | torch.device) -> dict[str, Any]:
    """All that decides a trunk's output for a given file, as plain values.

    Args:
        classifier: its trunk, preprocessing and precision count, its head does not.
        dtype: of what is stored.
        device: GPUs round otherwise than CPUs.

    >>> from camexp.models import Preprocessing
    >>> model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16)
    >>> sorted(describe_trunk(model, "float16", "cpu"))
    ['device', 'dtype', 'format', 'precision', 'preprocessing', 'trunk', 'weights', 'width']
    """
    weights = hashlib.blake2b(digest_size=16)
    for name, tensor in sorted(classifier.trunk.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        weights.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return {
        "format": FORMAT,
        # its name, its width, its stride, and whatever else may come to decide how it is built
        **{name: value for name, value in classifier.architecture.items() if name != "head"},
        "weights": weights.hexdigest(),
        "preprocessing": classifier.preprocessing.to_dict(),
        "precision": classifier.precision,
        "device": torch.device(device).type,
        "dtype": dtype,
    }


def fingerprint(about: dict[str, Any]) -> str:
    """A folder's name for a description: the same one for the same content.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=10).hexdigest()
