"""What is sent: read with limits, decoded in memory, never written."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from PIL import Image
from starlette.requests import ClientDisconnect, Request

from camexp.errors import UserError
from camexp.images import to_rgb

# What photographs come as. Pillow has decoders for forty more kinds of file, some of which start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
MEGA = 1_000_000


class Refused(UserError):
    """A request that is not answered as it asks.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status


async def read_body(request: Request, megabytes: float) -> bytes:
    """The body of a request, which is one image as it lies on a disk.

    Raises:
        Refused: more than ``megabytes``: told from its head where that says it, else as soon as they have come.
    """
    most = int(megabytes * MEGA)
    too_large = Refused(f"an image of more than {megabytes:g} MB is not taken (limits.megabytes)", 413)
    claimed = request.headers.get("content-length", "0")
    if not claimed.isdecimal() or int(claimed) > most:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most:
                raise too_large
    except ClientDisconnect:
        raise Refused("the page was left", 499) from None
    if not body:
        raise Refused("no image was sent")
    return bytes(body)


def decode(data: bytes, megapixels: float) -> Image.Image:
    """An image, upright and RGB.

    Args:
        data: a file's content.
        megapixels: at most; a file's head tells how many it has before any of them is decoded.

    Raises:
        Refused: no image, one of a kind that is not taken, or a larger one.

    >>> decode(b"GIF89a", 1)
    Traceback (most recent call last):
    camexp.explore.uploads.Refused: this is no image that can be read (...): expected JPEG, PNG, WebP, GIF, BMP or TIFF
    """
    try:
        with Image.open(io.BytesIO(data), formats=_known()) as image:
            if image.width * image.height <= megapixels * MEGA:
                image.load()
                return to_rgb(image)
            size = f"{image.width} × {image.height}"
    except Image.DecompressionBombError:
        size = "far too many"
    except Exception as error:  # Pillow's decoders raise all there is
        told = " ".join(str(error).split()).partition(" <_io")[0] or type(error).__name__
        raise Refused(
            f"this is no image that can be read ({told}): expected JPEG, PNG, WebP, GIF, BMP or TIFF", 415
        ) from error
    raise Refused(f"an image of {size} pixels is not taken: at most {megapixels:g} million (limits.megapixels)", 413)


def _known() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


class Room:
    """So many pixels may be in memory at once; who comes when it is full waits for others to go.

    Args:
        pixels: in all. A single image that has more waits until it is alone.
    """

    def __init__(self, pixels: int):
        self.pixels, self.taken = pixels, 0
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Room for an image while the block lasts."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self.taken or self.taken + pixels <= self.pixels)
            self.taken += pixels
        try:
            yield
        finally:
            async with self._changed:
                self.taken -= pixels
                self._changed.notify_all()
