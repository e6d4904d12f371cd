"""An optimizer and its schedule, whose own complaints are told as the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from camexp.config import TrainOptions
from camexp.config.arguments import require_arguments
from camexp.config.instantiate import instantiate
from camexp.errors import UserError, reason
from camexp.training.trainer import total_steps

MakeOptimizer = Callable[..., Optimizer]
MakeScheduler = Callable[..., LRScheduler]
STEPS_PER_EPOCH = 1000  # of the trial, which knows no images yet


def build_optimizer(make: MakeOptimizer, parameters: Any) -> Optimizer:
    """What ``make`` makes of the parameters, or of groups of them.

    Raises:
        UserError: it does not take its arguments.
    """
    return _built("optimizer", make, parameters)


def build_scheduler(make: MakeScheduler, optimizer: Optimizer, steps: int, steps_per_epoch: int) -> LRScheduler:
    """The schedule of so many steps.

    Raises:
        UserError: it does not take its arguments.
    """
    return _built("scheduler", make, optimizer, total_steps=steps, steps_per_epoch=steps_per_epoch)


def require_optimization(options: TrainOptions) -> None:
    """Try both on a parameter of their own.

    Raises:
        UserError: one of their arguments is wrong.
    """
    require_arguments(options.optimizer.arguments, "optimizer")
    make = instantiate(options.optimizer.arguments, "optimizer", _partial_=True)
    optimizer = build_optimizer(make, [torch.nn.Parameter(torch.zeros(1, 1))])
    if options.scheduler:
        require_arguments(options.scheduler, "scheduler")
        make = instantiate(options.scheduler, "scheduler", _partial_=True)
        build_scheduler(make, optimizer, total_steps(options.trainer, STEPS_PER_EPOCH), STEPS_PER_EPOCH)


def _built(option: str, make: Callable[..., Any], *given: Any, **named: Any) -> Any:
    try:
        return make(*given, **named)
    except UserError:
        raise
    except Exception as error:  # of a library, or the user's own: arguments fail it in any way
        raise UserError(f"{option} could not be built: {type(error).__name__}: {reason(error)}") from error
