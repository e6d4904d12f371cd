"""A network in the hub's layout, which ``camexp.load`` reads."""

from __future__ import annotations

from pathlib import Path

from camexp.models import CAMClassifier
from camexp.models.hub import WEIGHTS


def write_safetensors(classifier: CAMClassifier, folder: Path) -> Path:
    """``model.safetensors``: all tensors of the network, as they are."""
    from safetensors.torch import save_file

    path = folder / WEIGHTS
    state = {key: value.detach().contiguous().clone() for key, value in classifier.state_dict().items()}
    save_file(state, path, metadata={"format": "pt"})
    return path
