"""Maps until the best threshold is known: small ones in memory, others in a temporary file, or read again."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np
from numpy.typing import NDArray

Maps = Callable[[], NDArray[np.float32]]
SMALL = 4096  # bytes: a map of 32×32, or five of 14×14


class SpooledMaps:
    """Maps to come back to once all images are done, in little memory however many and large they are.

    The temporary file is gone with the process, whatever ends it.

    >>> spooled = SpooledMaps()
    >>> small, large = (spooled.add(np.full((1, side, side), side, np.float32)) for side in (8, 100))
    >>> small().shape, large().shape, float(large().mean())
    ((1, 8, 8), (1, 100, 100), 100.0)
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None

    def add(self, maps: NDArray[np.float32]) -> Maps:
        """Keep maps ``(K, h, w)``; returns what gives them back.

        Raises:
            OSError: no room for the temporary file.
        """
        if maps.nbytes <= SMALL:
            small = maps.copy()  # not a view, which would keep the maps of the whole batch
            return lambda: small
        file = self._file = self._file or tempfile.TemporaryFile(prefix="camexp-maps-")  # noqa: SIM115
        begin, shape, dtype, count = file.seek(0, 2), maps.shape, maps.dtype, maps.nbytes
        file.write(maps.tobytes())

        def read() -> NDArray[np.float32]:
            file.seek(begin)
            return np.frombuffer(file.read(count), dtype).reshape(shape).copy()

        return read
