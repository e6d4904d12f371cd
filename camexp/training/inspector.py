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
from PIL import Image
from torch import Tensor

from camexp.errors import UserError
from camexp.files import atomic_write
from camexp.labels import resolve_label
from camexp.methods import Method, is_cam
from camexp.models import CAMClassifier
from camexp.reporting.snapshots import Panel, evolution, evolution_card, snapshot, snapshot_card, write_animation
from camexp.run_files import CAM_STEPS
from camexp.training.loggers import log_image


class CAMInspector(pl.Callback):
    """Render the maps of fixed images every few steps, at step 0 and at the end.

    Writes into ``folder``: ``step_000050.png``, the raw maps ``step_000050.npy`` (``(P, h, w)`` float32,
    P pairs of image and label), ``steps.csv``, and at the end ``evolution.png`` and ``evolution.gif``.

    Args:
        pictures: the images, upright RGB.
        labels: for each image the classes to map, by name or label; ``"predicted"`` follows the network.
        classes: the class names.
        folder: ``cams/`` of the run.
        every_n_steps: how often; 0 for the first and the last step only.
        colormap, alpha: of the overlay.
        method: how a map is made, see :mod:`camexp.methods`.

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
    ):
        self.pictures = list(pictures)
        self.labels = [
            [label if label == "predicted" else resolve_label(label, classes, "inspect.label") for label in row]
            for row in labels
        ]
        self.folder, self.every_n_steps = folder, every_n_steps
        self.style = {"colormap": colormap, "alpha": alpha}
        self.method = method
        self.history: list[tuple[int, list[Panel]]] = []
        self._frozen: dict[int, Tensor] = {}

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
            strip = evolution(self.history, **self.style)  # type: ignore[arg-type]
            with atomic_write(self.folder / "evolution.png") as temporary:
                strip.save(temporary)
            pictures = [self._picture(step, "png") for step, _ in self.history]
            write_animation(self.folder / "evolution.gif", [path for path in pictures if path.exists()])
            card = evolution_card(self.history, **self.style)  # type: ignore[arg-type]
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
        panels = [panel for index in range(len(self.pictures)) for panel in self._panels(classifier, index)]
        classifier.train(was_training)

        self.history.append((step, panels))
        figure = snapshot(panels, step, **self.style)  # type: ignore[arg-type]
        with atomic_write(self._picture(step, "png")) as temporary:
            figure.save(temporary)
        with atomic_write(self._picture(step, "npy")) as temporary:
            np.save(temporary, np.stack([panel.cam for panel in panels]))
        self._append(step, panels)
        log_image(trainer, "cams/snapshot", figure, snapshot_card(panels, step, **self.style), step)  # type: ignore[arg-type]

    def _panels(self, classifier: CAMClassifier, index: int) -> list[Panel]:
        picture = self.pictures[index]
        features = self._features(classifier, index)
        probabilities = classifier.explain_features(features).probabilities[0].cpu()
        predicted = int(probabilities.argmax())
        labels = [predicted if wanted == "predicted" else int(wanted) for wanted in self.labels[index]]
        if is_cam(self.method):
            maps = classifier.explain_features(features, labels).maps
        else:
            maps = self.method(classifier, classifier.preprocess(picture)[None], labels).maps
        panels = []
        for label, cam in zip(labels, maps[0].float().cpu().numpy(), strict=True):
            name, winner = classifier.classes[label], classifier.classes[predicted]
            panels.append(Panel(picture, cam, name, float(probabilities[label]), winner))
        return panels

    @torch.no_grad()
    def _features(self, classifier: CAMClassifier, index: int) -> Tensor:
        """The trunk's output for one picture; a frozen trunk is asked once."""
        if index in self._frozen:
            return self._frozen[index]
        features = classifier.trunk_features(classifier.preprocess(self.pictures[index])[None])
        if classifier.trunk_is_frozen:
            self._frozen[index] = features
        return features

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
