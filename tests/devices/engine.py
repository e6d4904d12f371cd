"""Backward passes for the fake GPU, in Python: torch's engine asks a real one for its streams."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def backward(loss: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, **_: Any) -> None:
    """As ``Tensor.backward``: leaves add to their ``grad``."""
    for node, given in _walk(loss, gradient):
        if hasattr(node, "variable"):
            node(given[0])


def grad(outputs: Tensor, inputs: Sequence[Tensor], retain_graph: bool | None = None, **_: Any) -> tuple[Tensor, ...]:
    """As ``torch.autograd.grad``, of one number and of tensors that something calculated."""
    arrived = dict(_walk(outputs))
    return tuple(arrived[one.grad_fn][one.output_nr] for one in inputs)


def _walk(loss: Tensor, gradient: Tensor | None = None) -> Iterator[tuple[Any, dict[int, Tensor]]]:
    """Each node of the graph, once all that follows it is done, with the gradients that have arrived there."""
    if loss.grad_fn is None:
        raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
    waiting = _edges(loss.grad_fn)
    arrived: dict[Any, dict[int, Tensor]] = defaultdict(dict)
    arrived[loss.grad_fn][loss.output_nr] = torch.ones_like(loss) if gradient is None else gradient
    ready = [loss.grad_fn]
    with torch.no_grad():
        while ready:
            node = ready.pop()
            given = arrived.pop(node, {})
            if given:
                yield node, given
            inner = given and not hasattr(node, "variable")
            after = node(*map(given.get, range(len(node._input_metadata)))) if inner else None
            after = after if isinstance(after, tuple) else (after,) * len(node.next_functions)
            for (earlier, place), value in zip(node.next_functions, after, strict=True):
                if earlier is None:
                    continue
                if value is not None:
                    value = value.to(earlier._input_metadata[place].dtype)  # formulas leave that to the engine
                    known = arrived[earlier]
                    known[place] = known[place] + value if place in known else value
                waiting[earlier] -= 1
                if not waiting[earlier]:
                    ready.append(earlier)


def _edges(last: Any) -> Counter[Any]:
    """How many edges lead to each node."""
    edges: Counter[Any] = Counter()
    seen, reached = {last}, [last]
    while reached:
        for earlier, _ in reached.pop().next_functions:
            if earlier is not None:
                edges[earlier] += 1
                if earlier not in seen:
                    seen.add(earlier)
                    reached.append(earlier)
    return edges
