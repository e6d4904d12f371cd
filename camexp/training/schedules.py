"""Learning-rate schedules, a step at a time: the ``scheduler`` group.

Functions of the step alone. torch's CosineAnnealingLR keeps its length in its state: a run resumed with more epochs
would fall to zero at the old end.
"""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from camexp.errors import UserError


def cosine(
    optimizer: Optimizer, total_steps: int, steps_per_epoch: int, warmup: float = 0.0, floor: float = 0.0
) -> LambdaLR:
    """Linear warm-up, then half a cosine (Loshchilov and Hutter, ICLR 2017, without restarts).

    Args:
        optimizer: whose learning rate is the top of the schedule.
        total_steps: its length.
        steps_per_epoch: not needed here; every schedule is given it.
        warmup: the share of the steps, in [0, 1), over which the rate rises from zero.
        floor: the share of the top rate, in [0, 1], at which it ends.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> factor = cosine(optimizer, total_steps=10, steps_per_epoch=5, warmup=0.2).lr_lambdas[0]
    >>> [round(factor(step), 2) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if not 0 <= warmup < 1 or not 0 <= floor <= 1:
        raise UserError(f"scheduler.warmup={warmup}, scheduler.floor={floor} are out of range: expected 0 to 1")
    warmup_steps = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)


def stairs(
    optimizer: Optimizer,
    total_steps: int,
    steps_per_epoch: int,
    every_epochs: float = 10,
    factor: float = 0.1,
    first_epochs: float | None = None,
) -> LambdaLR:
    """Step decay: the rate times ``factor`` after each ``every_epochs`` epochs (torch's StepLR, counted in epochs).

    Args:
        optimizer: whose learning rate is the first step's.
        total_steps: not needed here; every schedule is given it.
        steps_per_epoch: how many steps an epoch has.
        every_epochs: the length of a stair.
        factor: from one stair to the next.
        first_epochs: the length of the first stair; ``None``: as the others.

    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> rate = stairs(optimizer, total_steps=30, steps_per_epoch=5, every_epochs=2).lr_lambdas[0]
    >>> [round(rate(step), 3) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if not every_epochs > 0 or not 0 < factor <= 1:
        raise UserError(
            f"scheduler.every_epochs={every_epochs}, scheduler.factor={factor} are out of range: "
            "expected more than 0, and more than 0 up to 1"
        )
    if first_epochs is not None and not 0 <= first_epochs < every_epochs:
        raise UserError(
            f"scheduler.first_epochs={first_epochs} is out of range: expected from 0 to below {every_epochs}"
        )
    stair = max(1, round(every_epochs * steps_per_epoch))
    ahead = 0 if first_epochs is None else stair - round(first_epochs * steps_per_epoch)
    return LambdaLR(optimizer, lambda step: factor ** ((step + ahead) // stair))
