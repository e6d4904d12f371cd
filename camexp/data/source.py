"""Where an image set's images come from when they are not files of their own: rows of a table, members of archives."""

from __future__ import annotations

import hashlib
from typing import Protocol

from PIL import Image


class ImageSource(Protocol):
    """Images by their index, as an :class:`~camexp.data.ImageSet` asks for them.

    A source is read by threads, by processes forked from this one and, pickled, by others: it holds no open file that
    has a position.
    """

    def __len__(self) -> int:
        """How many images there are."""
        ...

    def read(self, index: int) -> Image.Image:
        """One image: upright, in 8-bit RGB, of any size.

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        ...

    def digest(self, index: int) -> str:
        """What stands for an image's content, 32 hexadecimal digits: of its encoded bytes, or else of its pixels.

        Raises:
            OSError: it cannot be read.
        """
        ...

    def key(self, index: int) -> bytes | None:
        """``KEY_BYTES`` that another content would not have, found without reading it; ``None`` if nothing is known
        but the content: what was found out about the image is then found out anew in the next run.

        Raises:
            OSError: it is not there.
        """
        ...


def bytes_digest(content: bytes) -> str:
    """The digest of encoded bytes, as :func:`camexp.files.content_digest` has it of a file with these bytes.

    >>> bytes_digest(b"a")
    '27c35e6e9373877f29e562464e46497e'
    """
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def pixel_digest(image: Image.Image) -> str:
    """The digest of an image that has no encoded bytes.

    >>> pixel_digest(Image.new("RGB", (2, 1))) == pixel_digest(Image.new("RGB", (1, 2)))
    False
    """
    return bytes_digest(f"{image.mode} {image.width} {image.height} ".encode() + image.tobytes())
