"""The graph that is exported: from images to logits and maps, with nothing of camexp around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camexp.errors import UserError
from camexp.export.resize import PillowResize
from camexp.models import CAMClassifier

INPUT = "image"


class CAMGraph(nn.Module):
    """A CAM network as one graph: ``image`` to ``logits`` and ``maps``.

    Without preprocessing ``image`` is ``(B, 3, H, W)`` float32, normalised as ``model.preprocess`` does it, H and W at
    least 32. With it ``image`` is ``(B, 3, H, W)`` uint8, RGB, upright, of any size: it is resized to the size the
    network was trained at, as Pillow does it (:class:`camexp.export.resize.PillowResize`), and normalised. What comes
    before, decoding a file and turning it upright, stays outside.

    Args:
        classifier: in eval mode; its modules become the graph's own, and train no more.
        top: the maps of the ``top`` classes with the highest logits; ``None`` for all classes.
        preprocessing: whether the graph resizes and normalises.

    Raises:
        UserError: ``top`` is more than there are classes.

    >>> from camexp.models import Preprocessing
    >>> model = CAMClassifier("vgg11", list("abc"), Preprocessing((64, 64)), width=1 / 16).eval()
    >>> logits, maps, labels = CAMGraph(model, top=2, preprocessing=True)(torch.zeros(5, 3, 90, 50, dtype=torch.uint8))
    >>> logits.shape, maps.shape, labels.shape
    (torch.Size([5, 3]), torch.Size([5, 2, 4, 4]), torch.Size([5, 2]))
    """

    def __init__(self, classifier: CAMClassifier, top: int | None = None, preprocessing: bool = False):
        super().__init__()
        classes = len(classifier.classes)
        if top is not None and top > classes:
            raise UserError(
                f"maps=top{top} asks for more maps than there are classes: take all, or at most top{classes}"
            )
        self.features = classifier.trunk.features  # less the trunk's own check of the size, which no graph can hold
        self.head = classifier.head
        self.top = top
        self.takes_normalised = not preprocessing
        self.preprocess = NormalisedResize(classifier) if preprocessing else nn.Identity()
        self.requires_grad_(False).eval()

    @property
    def outputs(self) -> list[str]:
        """Names: ``logits`` ``(B, C)``, ``maps`` ``(B, K, h, w)``, and of the top classes ``labels`` ``(B, K)``."""
        return ["logits", "maps"] if self.top is None else ["logits", "maps", "labels"]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """``(logits, maps)``, or ``(logits, maps, labels)`` of the top classes; all but the labels float32."""
        activations = self.head.activations(self.features(self.preprocess(image)))
        weight, logits = self.head.linear.weight, self.head.logits(activations)
        if self.top is None:  # as a 1×1 convolution, which every runtime has a quick way for
            return logits, F.conv2d(activations, weight[:, :, None, None])
        labels = logits.topk(self.top, dim=1).indices
        maps = torch.matmul(weight[labels], activations.flatten(2))
        return logits, maps.unflatten(2, activations.shape[2:]), labels


class NormalisedResize(nn.Module):
    """The classifier's preprocessing for ``(B, 3, H, W)`` RGB bytes, as a part of a graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: CAMClassifier):
        super().__init__()
        self.resize = PillowResize(*size) if (size := classifier.preprocessing.size) is not None else nn.Identity()
        for name, values in (("mean", classifier.preprocessing.mean), ("std", classifier.preprocessing.std)):
            self.register_buffer(name, torch.tensor(tuple(values), dtype=torch.float32).view(3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, h, w)`` float32, what the network takes."""
        return (self.resize(image).float() / 255 - self.mean) / self.std
