"""What images are called below their data set's folder: the same wherever that lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from camexp.data.imageset import ImageSet


def names_below(images: ImageSet, indices: Sequence[int]) -> Iterator[bytes]:
    """The path below ``images.root`` of each of these images, as bytes.

    >>> from pathlib import Path
    >>> images = ImageSet(Path("/d"), ("a",), (Path("/d/a/1.png"), Path("/e/2.png")), (0, 0))
    >>> list(names_below(images, [1, 0]))
    [b'../e/2.png', b'a/1.png']
    """
    folder = os.fsencode(images.root)
    root, paths = os.path.join(folder, b""), images.path_array
    for index in indices:
        path = paths.encoded(index)
        # os.path.relpath asks for the working directory each time: 13 s for a million images
        below = path.startswith(root) and b".." not in path
        yield path[len(root) :] if below else os.path.relpath(path, folder)


def name_hashes(images: ImageSet, indices: Sequence[int]) -> NDArray[np.int64]:
    """64 bits that stand for each image's name, ``(N,)``: a million names as 8 MB, of which none can be read.

    >>> from pathlib import Path
    >>> here, there = (ImageSet(Path(root), ("a",), (Path(root, "a/1.png"),), (0,)) for root in ("/d", "/e"))
    >>> bool((name_hashes(here, [0]) == name_hashes(there, [0])).all())
    True
    """
    digests = b"".join(hashlib.blake2b(name, digest_size=8).digest() for name in names_below(images, indices))
    return np.frombuffer(digests, "<i8").astype(np.int64)
