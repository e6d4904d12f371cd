"""Trunk + head = CAMClassifier, and where its weights come from. Pure torch."""

from camexp.models import libraries  # noqa: F401  # registers timm and torchvision, and imports neither
from camexp.models.build import build_classifier
from camexp.models.checkpoint import checkpoint_metadata, load
from camexp.models.classifier import CAMClassifier
from camexp.models.head import CAMHead
from camexp.models.preprocessing import Preprocessing
from camexp.models.pretrained import pretrained
from camexp.models.result import CAMResult
from camexp.models.trunks import TRUNKS, Trunk, build_trunk
from camexp.models.weights import load_weights

__all__ = [
    "TRUNKS",
    "CAMClassifier",
    "CAMHead",
    "CAMResult",
    "Preprocessing",
    "Trunk",
    "build_classifier",
    "build_trunk",
    "checkpoint_metadata",
    "load",
    "load_weights",
    "pretrained",
]
