"""The numbers in a MATLAB file, read by lengths that are checked.

``scipy.io.loadmat`` reads more, and pymatreader wraps it; but a damaged file can make it read memory that is not its
own and end the program (benchmarks/fuzz.py found one). Of foreign files only plain numeric arrays are wanted here, and
these take little.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # miINT8 …
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = range(6, 16)  # mxDOUBLE_CLASS … mxUINT64_CLASS
_COMPLEX = 0x0800
LARGEST = 1 << 31  # bytes that a compressed variable may unfold to


def read_matlab(path: Path) -> dict[str, NDArray[np.number]]:
    """The real numeric arrays in a MATLAB 5 file (``save -v6`` and ``-v7``) by their names; others are passed over.

    Raises:
        ValueError: another kind of file, or a damaged one.

    >>> import tempfile
    >>> from scipy.io import savemat
    >>> path = Path(tempfile.mkdtemp(), "a.mat")
    >>> savemat(path, {"box_coord": np.array([[4, 30, 3, 20]]), "name": "llama"})
    >>> read_matlab(path)
    {'box_coord': array([[ 4, 30,  3, 20]])}
    """
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if len(content) < 136 or order is None:
        raise ValueError("no MATLAB 5 file (save it with -v7; -v7.3 is another format)")
    found: dict[str, NDArray[np.number]] = {}
    offset = 128
    while offset + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, offset)
        if length > len(content) - offset - 8:
            raise ValueError("it is cut short")
        element = content[offset + 8 : offset + 8 + length]
        if kind == _COMPRESSED:
            kind, element = _unfold(element, order)
        else:
            length += -length % 8
        if kind == _MATRIX and (variable := _variable(element, order)) is not None:
            found[variable[0]] = variable[1]
        offset += 8 + length
    return found


def _unfold(element: bytes, order: str) -> tuple[int, bytes]:
    unfolding = zlib.decompressobj()
    try:
        content = unfolding.decompress(element, LARGEST)
    except zlib.error as error:
        raise ValueError(f"a damaged variable ({error})") from error
    if len(content) < 8 or unfolding.unconsumed_tail:
        raise ValueError("a damaged or gigantic variable")
    kind, _ = struct.unpack_from(f"{order}II", content)
    return kind, content[8:]


def _variable(matrix: bytes, order: str) -> tuple[str, NDArray[np.number]] | None:
    """Name and values of a matrix; ``None`` for one that is not real and numeric."""
    offset, parts = 0, []
    for _ in range(4):  # flags, dimensions, name, values
        if offset + 8 > len(matrix):
            return None  # an empty matrix
        kind, length = struct.unpack_from(f"{order}II", matrix, offset)
        begin, step = offset + 8, 8
        if kind >> 16:  # at most four bytes stand in the tag itself
            kind, length, begin, step = kind & 0xFFFF, kind >> 16, offset + 4, 4
        if length > (4 if step == 4 else len(matrix) - begin):
            raise ValueError("a variable is cut short")
        parts.append((kind, matrix[begin : begin + length]))
        offset = offset + 8 if step == 4 else begin + length + -length % 8
    (_, flags), (_, sides), (_, name), (kind, values) = parts
    if len(flags) < 4 or len(sides) % 4:
        raise ValueError("a variable's header is damaged")
    described = struct.unpack_from(f"{order}I", flags)[0]
    if described & 0xFF not in _NUMERIC or described & _COMPLEX:
        return None
    shape = struct.unpack(f"{order}{len(sides) // 4}i", sides)
    if kind not in _STORED or min(shape, default=-1) < 0 or len(shape) > 8:
        raise ValueError("a variable's header is damaged")
    stored = np.dtype(f"{order}{_STORED[kind]}")
    if math.prod(shape) * stored.itemsize != len(values):
        raise ValueError("a variable's size does not fit its values")
    array = np.frombuffer(values, stored).reshape(shape, order="F")
    return name.decode("ascii", "replace"), array.astype(stored.newbyteorder("="))
