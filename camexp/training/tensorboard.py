"""TensorBoard as one looks at it: accuracy and loss first, charts side by side, hyperparameters that were chosen."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pytorch_lightning import loggers
from pytorch_lightning.utilities import rank_zero_only

from camexp.config.options import as_written, overridden
from camexp.files import display_path, naming

# TensorBoard opens on the tag that comes first in the alphabet, and draws what shares a prefix next to each other
TAGS = {
    "train/accuracy": "accuracy/train",
    "val/accuracy": "accuracy/val",
    "train/loss": "loss/train",
    "val/loss": "loss/val",
    "cams/evolution": "maps/evolution",
    "cams/snapshot": "maps/snapshot",
    "val/pointing": "maps/peak_on_object",
    "images_per_second": "rate/images_per_second",
    "lr": "rate/lr",
    "train/l2": "regularisation/l2",
    "train/regularise": "regularisation/method",
}
# the Custom Scalars tab: what is compared in one chart, as regular expressions of tags
CHARTS = {
    "loss": ("train/loss", "val/loss"),
    "accuracy": ("train/accuracy", "val/accuracy"),
    "localisation: peak on object": ("val/pointing",),
    "learning rate": ("lr",),
    "images per second": ("images_per_second",),
}
METRICS = ("val/accuracy", "val/loss", "val/pointing", "train/loss", "images_per_second")  # what runs are sorted by
GROUPS = ("model", "dataset", "optimizer", "scheduler", "transform", "regularise")  # of every run: their choices
OPTIONS = ("optimizer.lr", "batch_size", "trainer.max_epochs", "seed")  # and these
# options that change no result
UNTOLD = frozenset(
    "checkpoint command compile debug features inspect launch logger num_workers report resume run_dir "  # noqa: SIM905
    "trainer.check_every_n_steps trainer.gpus trainer.log_every_n_steps".split()
)
EARLIER = "tensorboard"  # the sub-folder that camexp 0.3 and before wrote events into, under the metrics' own names


def _leave_to_next_write(failed: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands what it failed with to the next write, which raises it: it needs no traceback here."""
    if not (isinstance(failed.exc_value, OSError) and type(failed.thread).__module__.startswith("tensorboard.")):
        threading.__excepthook__(failed)


class TensorBoardLogger(loggers.TensorBoardLogger):
    """Lightning's, whose tags are in the order in which one looks at them.

    Its events lie in the run's own folder, by which TensorBoard then calls the run.

    Args:
        tags: TensorBoard's names of metrics and pictures; others keep their own.
        settings: Lightning's own.
    """

    def __init__(self, *, tags: Mapping[str, str] = TAGS, **settings: Any):
        super().__init__(**settings)
        self.tags = tags
        threading.excepthook = _leave_to_next_write

    def tag(self, name: str) -> str:
        """What TensorBoard calls a metric or picture."""
        return self.tags.get(name, name)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Curves over the steps; that of the epoch would be a straight line."""
        with self._writing():
            super().log_metrics({self.tag(name): value for name, value in metrics.items() if name != "epoch"}, step)

    def log_image(self, name: str, image: Image.Image, step: int) -> None:
        """A picture."""
        with self._writing():
            self.experiment.add_image(self.tag(name), np.asarray(image), step, dataformats="HWC")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full disk is told as one, with the folder of the events, which the error names as little as their file."""
        try:
            with naming(display_path(Path(self.log_dir))):
                yield
        except ValueError as error:  # Lightning's word for whatever a write fails with
            if not isinstance(error.__cause__, OSError):
                raise
            with naming(display_path(Path(self.log_dir))):
                raise error.__cause__ from None

    @rank_zero_only
    def log_begin(self, hyperparameters: Mapping[str, Any], chosen: Collection[str], localises: bool) -> None:
        """The charts, and the run's row in the HParams tab.

        Args:
            hyperparameters: by name; numbers and text.
            chosen: those of them that the command named: they stand first.
            localises: whether the data set has masks, on which maps are measured.
        """
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
        from torch.utils.tensorboard.summary import hparams

        measured = [name for name in TAGS if localises or name != "val/pointing"]
        charts = {
            title: ["Multiline", [f"^{re.escape(self.tag(name))}$" for name in names]]
            for title, names in CHARTS.items()
            if set(names) <= set(measured)
        }
        self.experiment.add_custom_scalars({"training": charts})
        metrics = {self.tag(name): 0.0 for name in METRICS if name in measured}  # the last values of these curves
        experiment, start, _ = hparams(dict(hyperparameters), metrics)
        plugin = experiment.value[0].metadata.plugin_data
        described = HParamsPluginData.FromString(plugin.content)
        for column in described.experiment.hparam_infos:  # TensorBoard shows five, and what "differs" before the rest
            column.differs = column.name in chosen
        plugin.content = described.SerializeToString()
        for summary in (experiment, start):
            self.experiment._get_file_writer().add_summary(summary)

    @rank_zero_only
    def log_end(self, metrics: Mapping[str, float], step: int) -> None:
        """What was measured after the last step; the run has come to its end."""
        from torch.utils.tensorboard.summary import hparams

        self.log_metrics(metrics, step)
        _, _, end = hparams({}, {})
        self.experiment._get_file_writer().add_summary(end)
        self.experiment.close()

    @rank_zero_only
    def save(self) -> None:
        """Write what waits, and no ``hparams.yaml``: the run folder has the configuration."""
        with self._writing():
            self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The file stays open for what is measured after the training: another one would be a second file."""
        self.save()


def continued(settings: Mapping[str, Any], step: int | None) -> dict[str, Any]:
    """How TensorBoard's logger goes on after an interruption: what else it is given.

    Args:
        settings: those of the run's configuration.
        step: of the checkpoint, after which all that was written is hidden; ``None``: all of it is.

    Returns:
        A run begun with an earlier version goes on in the folder, and under the names, that it has.

    >>> continued({"save_dir": "/nowhere", "version": ""}, 41)
    {'purge_step': 42}
    """
    more: dict[str, Any] = {"purge_step": 0 if step is None else step + 1}
    if settings.get("version") == "" and any(Path(settings["save_dir"], EARLIER).glob("events.out.tfevents.*")):
        more |= {"version": EARLIER, "tags": {}}
    return more


def named_options(options: Mapping[str, Any], overrides: Sequence[str], choices: Mapping[str, Any]) -> list[str]:
    """The hyperparameters that a command names, one or more for each of its overrides.

    Args:
        options: all of them, as ``a.b``.
        overrides: of the command, in Hydra's grammar.
        choices: of each group.

    >>> named_options({"model.width": 1, "model.head.bias": True, "seed": 0}, ["model=vgg11", "+model.head={bias:true}",
    ...     "resume=auto"], {"model": "vgg11"})
    ['model', 'model.head.bias']
    """
    names: list[str] = []
    for override in overrides:
        given = overridden(override)
        inside = [name for name in options if f"{name}.".startswith(f"{given}.")]
        names += [given] if given in choices else inside
    return [name for name in dict.fromkeys(names) if not _untold(name)]


def hyperparameters(options: Mapping[str, Any], named: Sequence[str], choices: Mapping[str, Any]) -> dict[str, Any]:
    """What runs are told apart by: what the command named, and a few of every run.

    Args:
        options: all of them, as ``a.b``.
        named: see :func:`named_options`.
        choices: of each group.

    Returns:
        By option or group; numbers, else text as it stands on the command line.

    >>> hyperparameters({"seed": 0, "batch_size": 8, "cam.flip": False}, ["cam.flip"], {"model": "vgg11"})
    {'model': 'vgg11', 'batch_size': 8, 'seed': 0, 'cam.flip': 'false'}
    """
    names = dict.fromkeys((*GROUPS, *OPTIONS, *named))
    everything = {**options, **choices}
    known = {name: everything[name] for name in names if name in everything}
    return {name: value if _is_number(value) else as_written(value) for name, value in known.items()}


def _untold(name: str) -> bool:
    return any(f"{name}.".startswith(f"{other}.") for other in UNTOLD)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
