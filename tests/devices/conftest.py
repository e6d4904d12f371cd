"""One fake GPU."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.devices import fake_cuda as fake


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    """This machine has one GPU, as far as torch, Lightning and the project can tell."""
    with fake.fake_cuda():
        yield
