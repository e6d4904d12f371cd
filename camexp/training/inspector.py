"""Inspect the maps of fixed images while the network trains."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from camexp.cam.normalisation import MIN_MAX, Normalisation
from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.labels import resolve_label
from camexp.methods import ForwardPass, Method, is_cam, of_pass
from camexp.models import CAMClassifier
from camexp.reporting.snapshots import Panel, evolution, evolution_card, snapshot, snapshot_card, write_animation
from camexp.run_files import CAM_MAPS, CAM_STEPS
from camexp.training.loggers import log_image
from camexp.viewer.watched import append_head, append_step, wanted_maps

Record = tuple[NDArray[np.float32], NDArray[np.float32], Sequence[int]]  # logits (C,), maps (K, h, w), their labels


class CAMInspector(pl.Callback):
    """Render the maps of fixed images every few steps, at step 0 and at the end.

    Writes into ``folder``: ``step_000050.png``, the raw maps ``step_000050.npy`` (``(P, h, w)`` float32,
    P pairs of image and label), ``steps.csv``, and at the end ``evolution.png`` and ``evolution.gif``; for the run's
    page ``maps.jsonl``, see :mod:`camexp.viewer.watched`.

    Args:
        pictures: the images, upright RGB.
        labels: for each image the classes to map, by name or label; ``"predicted"`` follows the network.
        classes: the class names.
        folder: ``cams/`` of the run.
        every_n_steps: how often; 0 for the first and the last step only.
        colormap, alpha: of the overlay.
        method: how a map is made, see :mod:`camexp.methods`.
        names: the images' paths, for the page; ``None``: no ``maps.jsonl``.
        truths: the images' true labels, where they are known.
        normalisation: of the overlay.

    Raises:
        UserError: an unknown class.
    """

    HEADER = ("step", "panel", "class", "probability", "predicted")

    def __init__(
        self,
        pictures: Sequence[Image.Image],
        labels: Sequence[Sequence[str | int]],
        classes: Sequence[str],
        folder: Path,
        every_n_steps: int = 50,
        colormap: str = "jet",
        alpha: float = 0.5,
        method: Method = CAMClassifier.explain,
        names: Sequence[str] | None = None,
        truths: Sequence[int | None] | None = None,
        normalisation: Normalisation = MIN_MAX,
    ):
        self.pictures = list(pictures)
        self.labels = [
            [label if label == "predicted" else resolve_label(label, classes, "inspect.label") for label in row]
            for row in labels
        ]
        self.folder, self.every_n_steps = folder, every_n_steps
        self.style: dict[str, Any] = {"colormap": colormap, "alpha": alpha, "normalisation": normalisation}
        self.method = method
        self.history: list[tuple[int, list[Panel]]] = []
        self.names, self.truths = names, truths or [None] * len(self.pictures)
        self._frozen: dict[int, tuple[Tensor, ...]] = {}
        self._resumed = False  # from a checkpoint that watched the same

    @property
    def pairs(self) -> int:
        return sum(len(row) for row in self.labels)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == 0:
            self._inspect(trainer, pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0:
            self._inspect(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._inspect(trainer, pl_module)
        if trainer.is_global_zero and self.history:
            strip = evolution(self.history, **self.style)
            with atomic_write(self.folder / "evolution.png") as temporary:
                strip.save(temporary)
            pictures = [self._picture(step, "png") for step, _ in self.history]
            write_animation(self.folder / "evolution.gif", [path for path in pictures if path.exists()])
            card = evolution_card(self.history, **self.style)
            log_image(trainer, "cams/evolution", strip, card, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {
            "watched": self._watched(),
            "steps": [step for step, _ in self.history],
            "maps": [torch.from_numpy(np.stack([panel.cam for panel in panels])) for _, panels in self.history],
            "panels": [[(p.class_name, p.probability, p.predicted) for p in panels] for _, panels in self.history],
        }

    def _watched(self) -> str:
        """Stands for the pictures and the classes."""
        digest = hashlib.sha256(repr(self.labels).encode())
        for picture in self.pictures:
            digest.update(picture.tobytes())
        return digest.hexdigest()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pictures = [picture for picture, row in zip(self.pictures, self.labels, strict=True) for _ in row]
        if state_dict["watched"] != self._watched():
            return  # other images are watched now: their strip begins here
        self._resumed = True
        self.history = [
            (step, [Panel(*parts) for parts in zip(pictures, maps.numpy(), *zip(*panels, strict=True), strict=True)])
            for step, maps, panels in zip(*(state_dict[key] for key in ("steps", "maps", "panels")), strict=True)
        ]

    def _picture(self, step: int, ending: str) -> Path:
        return self.folder / f"step_{step:06d}.{ending}"

    def _inspect(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        step = trainer.global_step
        if not trainer.is_global_zero or (self.history and self.history[-1][0] == step):
            return
        classifier: CAMClassifier = pl_module.classifier  # type: ignore[assignment]
        was_training = classifier.training
        classifier.eval()
        panels, seen = [], []
        for index in range(len(self.pictures)):
            own, record = self._look(classifier, index)
            panels += own
            seen.append(record)
        classifier.train(was_training)

        self.history.append((step, panels))
        figure = snapshot(panels, step, **self.style)
        with atomic_write(self._picture(step, "png")) as temporary:
            figure.save(temporary)
        with atomic_write(self._picture(step, "npy")) as temporary:
            np.save(temporary, np.stack([panel.cam for panel in panels]))
        self._append(step, panels)
        if self.names is not None:
            self._record(step, seen, classifier)
        log_image(trainer, "cams/snapshot", figure, snapshot_card(panels, step, **self.style), step)

    def _look(self, classifier: CAMClassifier, index: int) -> tuple[list[Panel], Record]:
        """The wanted maps of one picture, and what the page holds of it."""
        picture = self.pictures[index]
        inner = of_pass(self.method)
        seen = self._pass(classifier, index, inner.layers(classifier) if inner else ())
        result = classifier.explain_activations(seen.activations)
        logits, probabilities = result.logits[0].cpu(), result.probabilities[0].cpu()
        predicted = int(probabilities.argmax())
        labels = [predicted if wanted == "predicted" else int(wanted) for wanted in self.labels[index]]
        kept = labels
        if inner:
            maps = inner.of(classifier, seen, labels).maps[0]
        else:
            maps = self.method(classifier, classifier.preprocess(picture)[None], labels).maps[0]
        if is_cam(self.method) and self.names is not None:
            kept = wanted_maps(len(logits), maps.shape[-2], maps.shape[-1], labels, logits.numpy())
        more = maps if kept is labels else classifier.explain_activations(seen.activations, kept).maps[0]
        panels = []
        for label, cam in zip(labels, maps.float().cpu().numpy(), strict=True):
            name, winner = classifier.classes[label], classifier.classes[predicted]
            panels.append(Panel(picture, cam, name, float(probabilities[label]), winner))
        return panels, (logits.numpy(), more.float().cpu().numpy(), kept)

    def _record(self, step: int, seen: Sequence[Record], classifier: CAMClassifier) -> None:
        path = self.folder / CAM_MAPS
        if not self._resumed or not path.exists():
            identity = is_cam(self.method) and classifier.head.mean_is_logit
            labels = [[label for label in row if label != "predicted"] for row in self.labels]
            assert self.names is not None
            append_head(path, classifier.classes, identity, self.pictures, self.names, self.truths, labels)  # type: ignore[arg-type]
            self._resumed = True
        append_step(path, step, seen, self.style["normalisation"])

    @torch.no_grad()
    def _pass(self, classifier: CAMClassifier, index: int, layers: tuple[str, ...]) -> ForwardPass:
        """Of one picture; a frozen trunk is asked once."""
        outputs = self._frozen.get(index)
        if outputs is None:
            outputs = classifier.trunk_outputs(classifier.preprocess(self.pictures[index])[None], layers)
            if classifier.trunk_is_frozen:
                self._frozen[index] = outputs
        features, *others = outputs
        return ForwardPass(features, classifier.head_activations(features), dict(zip(layers, others, strict=True)))

    def _append(self, step: int, panels: Sequence[Panel]) -> None:
        path = self.folder / CAM_STEPS
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(self.HEADER)
            for number, panel in enumerate(panels):
                writer.writerow((step, number, panel.class_name, f"{panel.probability:.6f}", panel.predicted))


def pair_labels(count: int, label: Any, own: Sequence[str | int | None]) -> list[list[str | int]]:
    """Which classes to map for each inspected image.

    Args:
        count: how many images there are.
        label: ``None`` (each image's own class, or the predicted one where it has none), one class or a
            list of classes for every image, or a list of lists, one an image.
        own: each image's class in the data set, or ``None``.

    >>> pair_labels(2, None, [3, None])
    [[3], ['predicted']]
    >>> pair_labels(2, ["llama", 7], [None, None])
    [['llama', 7], ['llama', 7]]
    >>> pair_labels(2, [["llama"], ["duck"]], [None, None])
    [['llama'], ['duck']]
    """
    if label is None:
        return [["predicted" if name is None else name] for name in own]
    if isinstance(label, (str, int)):
        return [[label]] * count
    if any(isinstance(row, (list, tuple)) for row in label):
        rows = [list(row) if isinstance(row, (list, tuple)) else [row] for row in label]
        if len(rows) != count or not all(rows):
            raise UserError(f"inspect.label has {len(rows)} lists for {count} images: give one list an image")
        return rows
    if not label:
        raise UserError("inspect.label=[] names no class: leave it out for the image's own")
    return [list(label)] * count
