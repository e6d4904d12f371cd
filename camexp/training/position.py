"""The position of a run (epoch and batch), and Lightning's loop state for it."""

from __future__ import annotations

from typing import Any, NamedTuple


class Position(NamedTuple):
    """Between two steps.

    Attributes:
        epoch: from 0.
        batch: how many of this epoch's batches are behind.
        validated: ``False`` if the validation that is due here is still to come.
    """

    epoch: int = 0
    batch: int = 0
    validated: bool = True

    @classmethod
    def after(cls, batches: int, epoch_length: int, validated: bool = True) -> Position:
        """After that many batches. The end of an epoch is the beginning of the next, once it is validated.

        >>> Position.after(10, 5), Position.after(10, 5, validated=False)
        (Position(epoch=2, batch=0, validated=True), Position(epoch=1, batch=5, validated=False))
        """
        epoch, batch = divmod(batches, epoch_length)
        if not validated and batch == 0:
            epoch, batch = epoch - 1, epoch_length
        return cls(epoch, batch, validated)


def loop_state(position: Position, loops: dict[str, Any], epoch_length: int) -> dict[str, Any]:
    """Lightning's loop state, set to a position between two steps.

    Lightning's counters depend on the hook in which a checkpoint is written, and several of these states it
    does not restart from without skipping or repeating a batch or a validation. This one it does.

    Args:
        position: to be in.
        loops: Lightning's own state there.
        epoch_length: batches.
    """
    fit = dict(loops["fit_loop"])
    total = position.epoch * epoch_length + position.batch

    def counted(done: int, begun: int | None = None) -> dict[str, int]:
        begun = done if begun is None else begun
        return {"ready": begun, "started": begun, "processed": done, "completed": done}

    epochs = counted(position.epoch, position.epoch + 1)
    fit["epoch_progress"] = {"total": epochs, "current": epochs}
    fit["epoch_loop.batch_progress"] = {
        "total": counted(total), "current": counted(position.batch), "is_last_batch": False
    }  # fmt: skip
    for key in [key for key in fit if key.startswith("epoch_loop.val_loop.") and key.endswith("batch_progress")]:
        fit[key] = {"total": counted(0), "current": counted(0), "is_last_batch": False}
    return {**loops, "fit_loop": fit}
