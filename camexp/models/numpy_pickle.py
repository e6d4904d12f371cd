"""Read a pickled NumPy dictionary without being able to execute what it brings.

The VGG weights that TensorFlow projects share (``vgg19.npy``) are an object array: a pickle, which
``numpy.load(allow_pickle=True)`` would run. Here every name a pickle can ask for is on a short list,
and each stands for something harmless.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from camexp.errors import UserError


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What a pickle of bytes made by protocol 2 calls; nothing but latin1 is ever needed."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"encoding {encoding}")
    return text.encode("latin1")


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray:
    """An empty array; the pickle's state fills it."""
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("an array subclass")
    return np.ndarray.__new__(np.ndarray, (0,), dtype=np.int8)


_ALLOWED: dict[str, Any] = {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype, "_codecs.encode": _encode}
_ALLOWED |= {f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get(f"{module}.{name}")
        if allowed is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed


def read_numpy_dict(path: Path) -> dict[str, list[np.ndarray]]:
    """The dictionary ``{layer: [kernel, bias]}`` in a ``.npy`` file.

    Raises:
        UserError: not such a file, damaged, or one that asks for anything but arrays.
    """
    try:
        with path.open("rb") as file:
            content = _read_object_array(file)
    except (pickle.UnpicklingError, ValueError, EOFError, TypeError, AttributeError, KeyError, IndexError,
            MemoryError, OverflowError, ImportError, UnicodeError) as error:  # fmt: skip
        raise UserError(
            f"{path} is not a dictionary of NumPy arrays ({error}): "
            "expected {layer name: [kernel, bias]} as TensorFlow's VGG files have it"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}: expected {{layer name: [kernel, bias]}}")
    for name, arrays in content.items():
        if not isinstance(name, str) or not isinstance(arrays, (list, tuple)):
            raise UserError(f"{path}: entry {name!r} is not a list of arrays: expected [kernel, bias]")
        if not all(isinstance(array, np.ndarray) and array.dtype.kind == "f" for array in arrays):
            raise UserError(f"{path}: layer {name} is not made of floating-point arrays: expected [kernel, bias]")
    return {name: list(arrays) for name, arrays in content.items()}


def _read_object_array(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    if not dtype.hasobject:
        raise ValueError(f"it is one plain array of shape {shape}")
    # latin1: such files were often written by Python 2
    content = _Reader(file, encoding="latin1").load()
    return content.item() if isinstance(content, np.ndarray) and content.shape == () else content
