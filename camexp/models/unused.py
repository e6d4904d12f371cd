"""What of a network a forward pass does not use."""

from __future__ import annotations

from torch import Tensor, nn


def remove_unused(features: nn.Module, out: Tensor) -> tuple[str, ...]:
    """Take out what a forward pass did not use, as the norm of a head that is gone.

    DistributedDataParallel waits for the gradient of every parameter, and the count of what trains is to be true.

    Args:
        features: changed in place: modules none of whose parameters was used become ``nn.Identity``; a single such
            parameter of a module that is used stays, out of training.
        out: what the pass gave, with its gradient function.

    Returns:
        What the state-dict keys of the modules taken out begin with.

    >>> import torch
    >>> class Cut(nn.Sequential):
    ...     def forward(self, x: Tensor) -> Tensor:
    ...         return self[0](x)
    >>> network = Cut(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    >>> remove_unused(network, network(torch.zeros(1, 3, 8, 8))), list(network.state_dict())
    (('1.',), ['0.weight', '0.bias'])
    """
    used = _leaves(out)
    removed: list[str] = []
    for path, module in list(features.named_modules()):
        parameters = list(module.parameters())
        if not path or not parameters or path.startswith(tuple(removed)):
            continue
        if not any(parameter in used for parameter in parameters):
            features.set_submodule(path, nn.Identity())
            removed.append(f"{path}.")
    for parameter in features.parameters():
        if parameter not in used:
            parameter.requires_grad_(False)
    return tuple(removed)


def _leaves(out: Tensor) -> set[Tensor]:
    """The parameters that a tensor was computed from: the ends of its graph, no gradient needs computing."""
    leaves, seen, ahead = set(), set(), [out.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        ahead += [following for following, _ in node.next_functions]
    return leaves
