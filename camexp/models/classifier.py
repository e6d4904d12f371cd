"""Trunk + head: logits and class activation maps from one forward pass."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from camexp.cam.maps import class_activation_maps
from camexp.errors import UserError
from camexp.labels import LabelLike, resolve_label
from camexp.models.compiling import compile_trunk
from camexp.models.head import build_head
from camexp.models.layers import watched
from camexp.models.preprocessing import Preprocessing
from camexp.models.result import CAMResult
from camexp.models.stages import take_layers
from camexp.models.threads import in_parts
from camexp.models.trunks import build_trunk, freeze
from camexp.precision import autocast, parameter_dtype, resolve_precision

if TYPE_CHECKING:
    pass

LabelsLike = LabelLike | Sequence[LabelLike | Sequence[LabelLike]] | Tensor


class CAMClassifier(nn.Module):
    """A CAM network that knows its classes and its preprocessing.

    Args:
        trunk: a name from ``camexp.models.trunks.TRUNKS``.
        classes: the class names, in the order of the logits.
        preprocessing: how an image becomes the network's input.
        width: the share of the published channels.
        head: arguments of :func:`camexp.models.head.build_head`.
        output_stride: see :func:`camexp.models.trunks.build_trunk`.
        out_layers: the layers whose outputs are the trunk's, see :func:`camexp.models.stages.take_layers`; ``None``:
            its last one's.

    >>> model = CAMClassifier("vgg11", ["duck", "llama"], Preprocessing((64, 64)), width=1 / 16).eval()
    >>> x = model.preprocess(Image.new("RGB", (200, 100)))
    >>> result = model.explain(x[None], labels="llama")
    >>> result.logits.shape, result.maps.shape, result.labels
    (torch.Size([1, 2]), torch.Size([1, 1, 4, 4]), tensor([[1]]))
    """

    def __init__(
        self,
        trunk: str,
        classes: Sequence[str],
        preprocessing: Preprocessing,
        width: float = 1.0,
        head: Mapping[str, Any] | None = None,
        output_stride: int | None = None,
        out_layers: Sequence[str] | None = None,
    ):
        super().__init__()
        self.classes = tuple(classes)
        self.preprocessing = preprocessing
        self.architecture: dict[str, Any] = {"trunk": trunk, "width": float(width), "head": dict(head or {})}
        if output_stride is not None:
            self.architecture["output_stride"] = output_stride
        self.trunk = build_trunk(trunk, width, output_stride)
        if out_layers is not None:
            self.architecture["out_layers"] = list(out_layers)
            take_layers(self.trunk, out_layers)
        self.head = build_head(self.trunk.out_channels, len(self.classes), **self.architecture["head"])
        self.frozen_layers: list[str] = []
        self.precision = "32-true"
        self._compiled = False

    @property
    def device(self) -> torch.device:
        return self.head.linear.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.head.linear.weight.dtype

    def freeze(self, what: str) -> None:
        """Take ``none``, the ``trunk`` or all before a named layer out of training."""
        self.frozen_layers = freeze(self.trunk, what)
        self.train(self.training)

    @property
    def trunk_is_frozen(self) -> bool:
        """Whether no layer of the trunk trains."""
        return len(self.frozen_layers) == len(self.trunk.layers)

    def optimise_for(self, device: str | torch.device, precision: str | int = "auto", compile: bool = False) -> None:
        """Choose precision and memory format for a device.

        Args:
            device: where the forward passes will run.
            precision: of :meth:`explain`, see :func:`camexp.precision.resolve_precision`, which is told whether layers
                of the trunk train (a network in train mode); logits and maps are float32 in any case. The weights are
                converted where it says so (``bf16-true``).
            compile: translate the trunk with torch.compile; the first pass of each input size waits for that.

        Raises:
            UserError: ``compile`` without a C++ compiler.
        """
        self.precision = resolve_precision(precision, device, self.training and not self.trunk_is_frozen)
        # convolutions take three quarters of the time in this order of memory, on CPUs and on GPUs
        self.to(dtype=parameter_dtype(self.precision), memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compile:
            compile_trunk(self.trunk, device)
            self._compiled = True  # it has its own ways with threads

    def train(self, mode: bool = True) -> CAMClassifier:
        super().train(mode)
        for name in self.frozen_layers:  # a frozen batch norm must not go on counting
            for module in self.trunk.layers[name]:
                module.eval()
        return self

    def trunk_features(self, images: Tensor, of: int | None = None) -> Tensor:
        """The trunk's output ``(B, D, h, w)``, at the chosen precision; ``images`` may lie on another device.

        Args:
            images: ``(B, 3, H, W)``, preprocessed.
            of: the size of the batch that these images are a part of. A convolution of another batch size, or in
                another number of threads, may round otherwise: with this, an image's features do not depend on how many
                others of its batch are given.
        """
        return self.trunk_outputs(images, of=of)[0]

    def trunk_outputs(self, images: Tensor, layers: Sequence[str] = (), of: int | None = None) -> tuple[Tensor, ...]:
        """The trunk's output and, after it, those of layers of it, each ``(B, D, h, w)`` with its own D, h and w.

        Args:
            images, of: as :meth:`trunk_features` takes them.
            layers: names, see :func:`camexp.models.layers.find_layer`.

        Raises:
            UserError: no layer of that name, or one that gives no features in space.
        """
        images = images.to(self.device, self.dtype)
        trains = self.training and not self.trunk_is_frozen  # a batch norm needs the batch as a whole
        whole = images.device.type != "cpu" or trains or not len(images)
        with autocast(self.precision, self.device), watched(self.trunk, layers) as run:
            return run(images) if whole else in_parts(run, images, of, 1 if self._compiled else None)

    def head_activations(self, features: Tensor) -> Tensor:
        """The activations that the maps weigh, ``(B, D', h, w)``, of the trunk's output, at the chosen precision."""
        with autocast(self.precision, self.device):
            return self.head.activations(features)

    def activations(self, images: Tensor) -> Tensor:
        """``(B, 3, H, W)`` images to ``(B, D, h, w)`` activations, what the maps weigh."""
        return self.head.activations(self.trunk(images))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, C)`` of normalised images ``(B, 3, H, W)``, H and W at least 32."""
        return self.head(self.activations(images))

    def preprocess(self, image: Image.Image) -> Tensor:
        """A PIL image of any mode and size as the network's input ``(3, H, W)``."""
        return self.preprocessing(image)

    @torch.no_grad()
    def explain(self, images: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """Logits and class activation maps of a batch, from one forward pass and without hooks.

        Args:
            images: ``(B, 3, H, W)``, preprocessed; moved to the model's device if need be.
            labels: which maps. ``"predicted"``, ``"top5"`` (any number), ``"all"``; one class by name
                or index; a list of classes, the same for each image; a list of lists, or a tensor
                ``(B, K)``, with each image's own.

        Raises:
            UserError: an unknown class, or lists that do not fit the batch.

        >>> model = CAMClassifier("vgg11", list("abcdef"), Preprocessing((32, 32)), width=1 / 16).eval()
        >>> batch = torch.zeros(2, 3, 48, 32)
        >>> [model.explain(batch, labels=which).maps.shape[1] for which in ("all", "top5", [0, "c"])]
        [6, 5, 2]
        >>> model.explain(batch, labels=[["a"], ["f"]]).labels.tolist()
        [[0], [5]]
        """
        return self.explain_features(self.trunk_features(images), labels)

    @torch.no_grad()
    def explain_features(self, features: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`explain`, of the trunk's output ``(B, D, h, w)``."""
        return self.explain_activations(self.head_activations(features), labels)

    @torch.no_grad()
    def explain_activations(self, activations: Tensor, labels: LabelsLike = "predicted") -> CAMResult:
        """As :meth:`explain`, of the head's activations, see :meth:`head_activations`."""
        logits = self.head(activations).float()
        chosen = self.resolve_labels(labels, logits)
        weights = self.head.linear.weight
        maps = class_activation_maps(activations, weights, None if labels == "all" else chosen)
        return CAMResult(logits, maps, chosen, self.classes)

    def resolve_labels(self, labels: LabelsLike, logits: Tensor) -> Tensor:
        """``labels`` as indices ``(B, K)`` on the logits' device."""
        batch, count = logits.shape
        if isinstance(labels, (Tensor, np.ndarray, np.generic)):
            labels = labels.tolist()
        if labels == "all":
            return torch.arange(count, device=logits.device).expand(batch, count)
        if labels == "predicted":
            return logits.argmax(1, keepdim=True)
        if isinstance(labels, str) and labels not in self.classes and re.fullmatch("top[1-9][0-9]*", labels):
            return logits.topk(min(int(labels[3:]), count), dim=1).indices
        if not isinstance(labels, Sequence) or isinstance(labels, str):
            labels = [labels]
        if any(isinstance(label, (list, tuple)) for label in labels):
            rows = [list(row) if isinstance(row, (list, tuple)) else [row] for row in labels]
            if len(rows) != batch or len({len(row) for row in rows}) != 1:
                raise UserError(
                    f"labels for {len(rows)} images with {sorted({len(row) for row in rows})} classes each "
                    f"do not fit a batch of {batch}: give one list an image, all of the same length"
                )
        else:
            rows = [list(labels)] * batch  # type: ignore[list-item]
        if not rows or not rows[0]:
            raise UserError("labels=[] asks for no map: give at least one class")
        indices = [[resolve_label(label, self.classes) for label in row] for row in rows]  # type: ignore[arg-type]
        return torch.tensor(indices, device=logits.device)
