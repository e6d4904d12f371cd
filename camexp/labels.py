"""Class names and labels: one place that turns what a user writes into indices."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from camexp.errors import UserError, nearest

LabelLike = int | str


def resolve_label(label: LabelLike, classes: Sequence[str], option: str = "label") -> int:
    """The index of one class, given by its name or its number.

    A text is looked up as a name first and read as a number second, so a class whose folder is called
    ``7`` is found by that name.

    Args:
        label: a class name, an index in ``[0, len(classes))``, or that index as text.
        classes: the class names, in the order of the logits.
        option: what the user called it, for the error's sentence.

    Raises:
        UserError: no such class; the sentence names the nearest ones.

    >>> resolve_label("llama", ["duck", "llama"]), resolve_label(0, ["duck", "llama"])
    (1, 0)
    """
    if isinstance(label, str):
        if label in classes:
            return classes.index(label)
        if not label.strip().isdecimal():
            raise UserError(f"{option}={label} is not a class of this model: {nearest(label, classes)}")
    elif not isinstance(label, Integral) or isinstance(label, bool):
        raise UserError(f"{option}={label} is neither a class name nor a number from 0 to {len(classes) - 1}")
    index = int(label)
    if not 0 <= index < len(classes):
        raise UserError(f"{option}={label} is not a label of this model: expected 0 to {len(classes) - 1}")
    return index


def labels_as_text(label: Any) -> Any:
    """Labels from the command line, where ``7`` may be a folder's name as well as a number: whole numbers become
    texts, in lists too, so that :func:`resolve_label` looks for the name first.

    >>> labels_as_text([7, ["llama", 0]])
    ['7', ['llama', '0']]
    """
    if isinstance(label, (list, tuple)):
        return [labels_as_text(one) for one in label]
    return str(label) if isinstance(label, int) and not isinstance(label, bool) else label
