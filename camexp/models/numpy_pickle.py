"""Read a pickled NumPy dictionary without being able to execute what it brings.

The VGG weights that TensorFlow projects share (``vgg19.npy``) are an object array: a pickle, which
``numpy.load(allow_pickle=True)`` would run. Here every name a pickle can ask for is on a short list, and stands for a
class that only remembers what it is given. NumPy's own are not among them: the state of an array in a damaged pickle
can make them read memory that is not theirs. Not fickling, which judges a pickle and then has the real unpickler run
it.
"""

from __future__ import annotations

import io
import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from camexp.errors import UserError, reason


class _Remembers:
    """A stand-in for an array or a dtype: its arguments, and the state it is given."""

    def __init__(self, *arguments: Any):
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple):
            raise pickle.UnpicklingError("a state that is no tuple")
        self.state = state


class _Array(_Remembers):
    pass


class _DType(_Remembers):
    pass


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What a pickle of bytes made by protocol 2 calls; nothing but latin1 is ever needed."""
    if encoding not in ("latin1", "latin-1") or not isinstance(text, str):
        raise pickle.UnpicklingError(f"encoding {encoding}")
    return text.encode("latin1")


def _reconstruct(kind: type, *_: Any) -> _Array:
    if kind is not _Array:
        raise pickle.UnpicklingError("an array subclass")
    return _Array()


_ALLOWED: dict[str, Any] = {"numpy.ndarray": _Array, "numpy.dtype": _DType, "_codecs.encode": _encode}
_ALLOWED |= {f"numpy.{core}.multiarray._reconstruct": _reconstruct for core in ("core", "_core")}


class _Reader(pickle._Unpickler):  # type: ignore[name-defined]  # the one in C believes any number it reads
    stack: list[Any]
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]

    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get(f"{module}.{name}")
        if allowed is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return allowed

    def load_build(self) -> None:
        if not isinstance(self.stack[-2], _Remembers):
            raise pickle.UnpicklingError("a state for what has none")
        state = self.stack.pop()
        self.stack[-1].__setstate__(state)

    def refuse(self) -> None:
        raise pickle.UnpicklingError("a bytearray")  # reserved at whatever length the file claims

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = refuse


def read_numpy_dict(path: Path) -> dict[str, list[np.ndarray]]:
    """The dictionary ``{layer: [kernel, bias]}`` in a ``.npy`` file.

    Raises:
        UserError: not such a file, damaged, or one that asks for anything but arrays.
    """
    try:
        content = _read_object_array(io.BytesIO(path.read_bytes()))
    except Exception as error:  # a broken header or pickle raises all there is; each means the same here
        raise UserError(
            f"{path} is not a dictionary of NumPy arrays ({reason(error)}): "
            "expected {layer name: [kernel, bias]} as TensorFlow's VGG files have it"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}: expected {{layer name: [kernel, bias]}}")
    for name, arrays in content.items():
        if not isinstance(name, str) or not isinstance(arrays, (list, tuple)):
            raise UserError(f"{path}: entry {name!r:.80} is not a list of arrays: expected [kernel, bias]")
    try:
        return {name: [_array(one) for one in arrays] for name, arrays in content.items()}
    except (pickle.UnpicklingError, ValueError, TypeError, UnicodeError, OverflowError) as error:
        raise UserError(f"{path} is not made of floating-point arrays ({error}): expected [kernel, bias]") from error


def _array(one: Any) -> np.ndarray:
    """A remembered array as a real one."""
    if not isinstance(one, _Array) or len(one.state) != 5:
        raise pickle.UnpicklingError(f"a {type(one).__name__} instead of an array")
    _, shape, dtype, fortran, data = one.state
    if not isinstance(dtype, _DType) or not dtype.arguments or dtype.arguments[0] not in ("f2", "f4", "f8"):
        raise pickle.UnpicklingError("an array of another type")
    order = dtype.state[1] if len(dtype.state) > 1 else "<"
    kind = np.dtype(f"{order if order in ('<', '>') else '<'}{dtype.arguments[0]}")
    data = data.encode("latin1") if isinstance(data, str) else data  # written by Python 2
    sound = isinstance(shape, tuple) and all(type(side) is int and 0 <= side < 2**31 for side in shape)
    if not sound or not isinstance(data, bytes) or math.prod(shape) * kind.itemsize != len(data):
        raise pickle.UnpicklingError("a shape that does not fit its bytes")
    return np.frombuffer(data, kind).reshape(shape, order="F" if fortran is True else "C").copy()


def _read_object_array(file: io.BytesIO) -> Any:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    if not dtype.hasobject:
        raise ValueError(f"it is one plain array of shape {shape}")
    # latin1: such files were often written by Python 2
    content = _Reader(file, encoding="latin1").load()
    if not isinstance(content, _Array):
        return content
    if len(content.state) == 5 and content.state[1] == () and isinstance(content.state[4], list):
        return content.state[4][0]
    raise ValueError("it is an array of several objects")
