"""A GPU without a GPU: tensors that say they lie on ``cuda:0``, with their numbers on the CPU.

torch's own ``FakeTensor`` claims a device too, but holds no numbers, so that nothing can leave it. Here a product
calculates as on a GPU (autocast of CUDA, tensors that numpy refuses), the results can be compared with the CPU's, and
whatever brings two devices together is refused in torch's own words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from tests.devices.engine import backward, grad

DEVICE = torch.device("cuda", 0)
aten = torch.ops.aten
COPIES = (aten.copy_.default, aten._to_copy.default)
# an index may lie on the CPU
INDEXING = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default)


class FakeCudaTensor(Tensor):
    """Says that it lies on the GPU.

    Attributes:
        held: its numbers, a tensor on the CPU.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]
    held: Tensor
    backward = backward  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor) -> FakeCudaTensor:
        tensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=DEVICE,
        )  # fmt: skip
        tensor.held = held
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.held}, on a GPU"

    def tolist(self) -> Any:
        return self.held.tolist()

    def numpy(self, **_: Any) -> Any:  # type: ignore[override]
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy it first.")

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.held.__reduce_ex__(protocol)  # what a checkpoint holds once it is read back to the CPU


class FakeCuda(TorchDispatchMode):
    """While it is active, what is made on ``cuda`` is a :class:`FakeCudaTensor`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation, calculated on the CPU; its result is where it would be.

    Raises:
        RuntimeError: tensors of two devices, where a GPU would not take them.
    """
    if func is aten._has_compatible_shallow_copy_type.default:
        return False  # a module that moves gets new parameters: data of another class does not fit the old ones
    tensors = _tensors((args, kwargs))
    on_gpu = [tensor for tensor in tensors if isinstance(tensor, FakeCudaTensor)]
    _require_one_device(func, args, tensors)
    if torch.Tag.inplace_view in func.tags and on_gpu and func is not aten.detach_.default:
        raise NotImplementedError(f"{func} changes a shape in place, which the fake GPU does not follow")
    target = kwargs.get("device")
    if target is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if not (on_gpu if target is None else torch.device(target).type == "cuda"):
        return result
    known = {id(tensor.held): tensor for tensor in on_gpu}  # what is changed in place stays the tensor that it is

    def claimed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else FakeCudaTensor(value)

    return tree_map(claimed, result)


def _require_one_device(func: Any, args: tuple[Any, ...], tensors: list[Tensor]) -> None:
    if func in COPIES or not any(isinstance(tensor, FakeCudaTensor) for tensor in tensors):
        return
    counted = tensors
    if func in INDEXING and isinstance(args[0], FakeCudaTensor):
        counted = _tensors((args[0], args[2:]))
    on_cpu = [tensor for tensor in counted if not isinstance(tensor, FakeCudaTensor)]
    if torch.Tag.pointwise in func.tags:  # a single number may lie on the CPU, unless it is what changes
        changed = args[0] if func._schema.is_mutable and isinstance(args[0], Tensor) else None
        on_cpu = [tensor for tensor in on_cpu if tensor.ndim or tensor is changed]
    if on_cpu:
        raise RuntimeError(
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
            f"(in {func}, shapes {[tuple(tensor.shape) for tensor in tensors]})"
        )


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_flatten(values)[0] if isinstance(value, Tensor)]


def _held(value: Any) -> Any:
    if isinstance(value, FakeCudaTensor):
        return value.held
    return torch.device("cpu") if isinstance(value, torch.device) else value


@contextlib.contextmanager
def fake_cuda() -> Iterator[None]:
    """A machine with one fake GPU, as far as torch and Lightning ask."""
    torch._C._ensureCUDADeviceGuardSet()  # as FakeTensor does: a tensor of a GPU needs none to have a graph
    answers: dict[str, Any] = {
        "is_available": True, "device_count": 1, "current_device": 0, "is_bf16_supported": True,
        "get_device_capability": (9, 0), "get_device_name": "fake GPU", "is_initialized": True,
        "set_device": None, "empty_cache": None, "synchronize": None, "_lazy_init": None,
        "get_rng_state_all": [], "set_rng_state_all": None, "manual_seed_all": None, "manual_seed": None,
    }  # fmt: skip
    lifted = torch._C._only_lift_cpu_tensors()
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    with pytest.MonkeyPatch.context() as patch:
        for name, answer in answers.items():
            patch.setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
        patch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: None, raising=False)
        engine = torch.autograd.grad
        patch.setattr(
            torch.autograd,
            "grad",
            lambda of, *a, **k: (grad if isinstance(of, FakeCudaTensor) else engine)(of, *a, **k),
        )
        patch.setattr(Tensor, "pin_memory", lambda tensor, *_: tensor)
        try:
            torch._C._set_only_lift_cpu_tensors(True)  # so that torch.tensor(…, device="cuda") comes by here
            torch.__future__.set_overwrite_module_params_on_conversion(True)  # their data cannot change its class
            with torch.backends.cudnn.flags(enabled=False), FakeCuda():
                yield
        finally:
            torch._C._set_only_lift_cpu_tensors(lifted)
            torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
