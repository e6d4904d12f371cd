"""The ``callbacks`` group: whether what it names can watch a run, before any image is read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pytorch_lightning.callbacks import GradientAccumulationScheduler, LearningRateMonitor

from camexp.config.arguments import require_arguments
from camexp.errors import UserError, nearest
from camexp.training.loggers import MetricsCSV
from camexp.training.trainer import UNSUPPORTED

LOGGED = tuple(name for name in MetricsCSV.COLUMNS if name != "epoch")


def require_callbacks(callbacks: Mapping[str, Any] | None) -> None:
    """Make sure that they take their arguments, leave a run what it is here, and watch what is measured.

    Raises:
        UserError: one of them does not.
    """
    for name, node in (callbacks or {}).items():
        option = f"callbacks.{name}"
        if node is None:
            continue
        target = require_arguments(node, option)
        if isinstance(target, type) and issubclass(target, GradientAccumulationScheduler):
            instead = UNSUPPORTED["accumulate_grad_batches"]
            raise UserError(f"{option}={target.__name__} is not supported: {instead}")
    require_monitored(callbacks, LOGGED)


def require_monitored(callbacks: Mapping[str, Any] | None, logged: Collection[str]) -> None:
    """Make sure that there is what each of them monitors, of those metrics or of what the user's own callbacks log.

    Raises:
        UserError: it is not.
    """
    nodes = {name: node for name, node in (callbacks or {}).items() if node is not None}
    if any(_may_log(str(node["_target_"])) for node in nodes.values()):
        return
    for name, node in nodes.items():
        monitored = node.get("monitor")
        if monitored is not None and monitored not in logged:
            raise UserError(
                f"callbacks.{name}.monitor={monitored} is not measured in this run: {nearest(str(monitored), logged)}"
            )


def _may_log(target: str) -> bool:
    return not target.startswith("pytorch_lightning.") or target.endswith(LearningRateMonitor.__name__)
