"""The device of a test: a fake GPU, which every machine has, or a real one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from tests.devices import fake_cuda as fake

DEVICE = "CAMEXP_TEST_DEVICE"


@pytest.fixture
def fake_cuda() -> Iterator[None]:
    """This machine has one GPU, as far as torch, Lightning and the project can tell."""
    if not hasattr(torch._C, "_ensureCUDADeviceGuardSet"):
        pytest.skip(
            f"torch {torch.__version__} asks a driver for every tensor of a GPU: a fake one needs a newer torch"
        )
    with fake.fake_cuda():
        yield


@pytest.fixture
def device() -> str:
    """``cuda``, or ``cpu`` where that is asked for to rehearse the tests of the GPU."""
    asked = os.environ.get(DEVICE, "cuda")
    if asked not in ("cuda", "cpu"):
        raise ValueError(f"{DEVICE}={asked} is not a device: expected cuda or cpu")
    if asked == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"torch sees no GPU ({DEVICE}=cpu rehearses this test)")
    return asked
