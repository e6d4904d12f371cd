"""What must be true of any head."""

from __future__ import annotations

import torch

from camexp.models import CAMHead


def require_gradients_and_shared_batches(head: CAMHead) -> None:
    """Every weight has a gradient, and two processes that share a batch compute what one would, dropout included."""
    features = torch.rand(4, 32, 5, 5)
    torch.manual_seed(1)
    whole = head(head.activations(features))
    whole.square().sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    parts = []
    for rows in ([0, 2], [1, 3]):  # as two processes share a batch
        torch.manual_seed(1)
        head.rows = 4, torch.tensor(rows)
        parts.append(head(head.activations(features[rows])))
    assert torch.allclose(torch.stack(parts, 1).flatten(0, 1), whole, atol=1e-5)
