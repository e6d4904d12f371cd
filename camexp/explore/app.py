"""What the server answers: the page, the maps of an image, the state of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from mimetypes import guess_type
from time import monotonic
from typing import Any, TypeVar

import torch
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from torch import Tensor

from camexp.config import ExploreOptions
from camexp.errors import UserError
from camexp.explore.engine import Engine, Job, Maps, OutOfTime
from camexp.explore.gallery import Gallery
from camexp.explore.networks import Loaded, Network
from camexp.explore.page import described, identity, page_html
from camexp.explore.settings import Settings, read_settings
from camexp.explore.uploads import Refused, Room, decode, read_body
from camexp.models.trunks import Trunk
from camexp.prediction.batches import MOST_PIXELS
from camexp.viewer import is_finite, item, json_text, photograph

T = TypeVar("T")
READ_AT_ONCE = 4  # uploads that are in memory as files; the others wait in the sockets
PHOTOGRAPH = 1600  # pixels of the longer side, of what a browser cannot show itself


@dataclass(frozen=True)
class Prepared:
    """An image that was read.

    Attributes:
        size: ``(H, W)`` of the photograph.
        photo: a ``data:`` address where one was asked for, else empty.
        tensors: the input of each network.
    """

    size: tuple[int, int]
    photo: str
    tensors: list[Tensor]


class Explorer:
    """The application's state, and a method a route.

    Args:
        networks: one, or two side by side.
        gallery: the images of the folder.
        engine: explains.
        options: limits, and what the page begins with.
    """

    def __init__(self, networks: Sequence[Network], gallery: Gallery, engine: Engine, options: ExploreOptions):
        self.networks, self.gallery, self.engine, self.options = networks, gallery, engine, options
        self.begin, self.waiting = Settings.of(options), 0
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        self._room = Room(4 * MOST_PIXELS)
        # one core a photograph: several threads on so little would wait for one another, and then for the network's
        self._pool = ThreadPoolExecutor(2, "decode", torch.set_num_threads, (1,))

    def application(self) -> Starlette:
        """It knows these addresses and no file's."""
        routes = [
            Route("/", self.page),
            Route("/state", self.state),
            Route("/networks", self.describe),
            Route("/image/{number}", self.image),
            Route("/explain", self.explain, methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={UserError: _refuse, HTTPException: _refuse})

    async def page(self, request: Request) -> Response:
        """The page, with all it needs but images and maps."""
        return HTMLResponse(page_html(self.networks, self.gallery, self.begin, self.options))

    async def state(self, request: Request) -> Response:
        """Which version of each network is the newest; asked every few seconds."""
        networks = [{"version": one.loaded.version, "step": one.loaded.step} for one in self.networks]
        return JSONResponse({"networks": networks, "waiting": self.waiting})

    async def describe(self, request: Request) -> Response:
        """The networks with their classes."""
        return _json({"networks": [described(one, self.options) for one in self.networks]})

    async def image(self, request: Request) -> Response:
        """An image of the folder, as its file is."""
        number = _numbers(request.path_params["number"], len(self.gallery.names))[0]
        data = await self._in_thread(partial(self.gallery.read, number, self.options.limits.megabytes))
        kind = guess_type(self.gallery.names[number])[0] or ""
        return Response(data, media_type=kind if kind.startswith("image/") else "application/octet-stream")

    async def explain(self, request: Request) -> Response:
        """The maps of an image: the body, or with ``image=N`` one of the folder's.

        The answer is JSON: ``items``, one a network, see :func:`camexp.viewer.item`.
        """
        limits = self.options.limits
        kind = request.headers.get("content-type", "application/octet-stream")
        if kind != "application/octet-stream" and not kind.startswith("image/"):  # what no form can send
            raise Refused(f"content-type {kind} is not taken: an image is sent as application/octet-stream", 415)
        if self.waiting >= limits.waiting:
            raise Refused(f"{self.waiting} images wait already (limits.waiting): try again in a moment", 503)
        self.waiting += 1
        try:
            return await asyncio.wait_for(self._explain(request, monotonic() + limits.seconds), limits.seconds)
        except (asyncio.TimeoutError, OutOfTime):  # whichever of both clocks strikes first
            raise Refused(f"this took longer than {limits.seconds:g} s (limits.seconds)", 503) from None
        finally:
            self.waiting -= 1

    async def _explain(self, request: Request, until: float) -> Response:
        query, limits = request.query_params, self.options.limits
        settings = read_settings(query, self.begin)
        asked = [self.networks[number].loaded for number in _numbers(query.get("networks"), len(self.networks))]
        labels: list[str | tuple[int, ...]] = [settings.labels(loaded.model) for loaded in asked]
        if "classes" in query:
            most = min(len(loaded.model.classes) for loaded in asked)
            labels = [_numbers(query["classes"], most)] * len(asked)
        async with AsyncExitStack() as room:
            async with self._reading:
                with_photo = query.get("photo") == "1"
                ready = await self._in_thread(
                    partial(prepare, await self._image(request), settings, asked, limits.megapixels, with_photo)
                )
                jobs = [
                    Job(loaded, settings, tensor, which, until)
                    for loaded, tensor, which in zip(asked, ready.tensors, labels, strict=True)
                ]
                await room.enter_async_context(self._room.hold(sum(job.pixels for job in jobs)))
            results = await self._results(request, jobs)
        return await self._in_thread(partial(_answer, ready, jobs, results))

    async def _image(self, request: Request) -> bytes:
        megabytes = self.options.limits.megabytes
        if "image" not in request.query_params:
            return await read_body(request, megabytes)
        number = _numbers(request.query_params["image"], len(self.gallery.names))[0]
        return await self._in_thread(partial(self.gallery.read, number, megabytes))

    async def _results(self, request: Request, jobs: Sequence[Job]) -> list[Maps]:
        """Of the engine; whoever leaves the page frees it for others."""

        async def left() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        leaving = asyncio.ensure_future(left())
        results = asyncio.gather(*(asyncio.wrap_future(self.engine.submit(job)) for job in jobs))
        results.add_done_callback(lambda done: done.cancelled() or done.exception())  # of whom left nobody hears
        try:
            both: set[asyncio.Future[Any]] = {leaving, results}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not results.done():
                raise Refused("the page was left", 499)
            return await results
        finally:
            leaving.cancel()
            for job in jobs:
                job.result.cancel()
            results.cancel()

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)


def prepare(data: bytes, settings: Settings, asked: Sequence[Loaded], megapixels: float, photo: bool) -> Prepared:
    """A file's content as the networks' inputs.

    Raises:
        Refused: no image, or one of a size that is not taken.
    """
    image = decode(data, megapixels)
    tensors: dict[Any, Tensor] = {}
    for loaded in asked:
        preprocessing = settings.preprocessing(loaded.model)
        height, width = preprocessing.size or (image.height, image.width)
        largest = max(1.0, *settings.scales) ** 2
        if height * width * largest > MOST_PIXELS:
            raise Refused(
                f"{width} × {height} pixels{f', {max(settings.scales):g} times as large,' if largest > 1 else ''} are "
                f"more than a network takes at once here ({MOST_PIXELS / 1e6:.1f} million): choose a smaller size", 413
            )  # fmt: skip
        if min(height, width) < Trunk.min_size:
            told = f"at least {Trunk.min_size} pixels each way are needed: choose a size"
            raise Refused(f"{width} × {height} pixels: {told}", 422)
        tensors.setdefault(_key(preprocessing), preprocessing(image))
    return Prepared(
        (image.height, image.width),
        photograph(image, PHOTOGRAPH) if photo else "",
        [tensors[_key(settings.preprocessing(loaded.model))] for loaded in asked],
    )


def _key(preprocessing: Any) -> tuple[Any, ...]:
    return preprocessing.size, tuple(preprocessing.mean), tuple(preprocessing.std)


def _answer(ready: Prepared, jobs: Sequence[Job], results: Sequence[Maps]) -> Response:
    if not all(is_finite(maps.logits, maps.maps) for maps in results):
        raise Refused("the network's values are not finite: take another precision or method", 422)
    items = [
        item("", "", ready.size, ready.photo, maps.logits, maps.maps, maps.labels,
             normalisation=job.settings.normalisation,
             identity=identity(job.loaded.model, job.settings), version=job.loaded.version)
        for job, maps in zip(jobs, results, strict=True)
    ]  # fmt: skip
    return _json({"items": items})


def _numbers(text: str | None, count: int) -> tuple[int, ...]:
    """``"0,1"``, each below ``count``; all for ``None``."""
    if text is None:
        return tuple(range(count))
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 9 and int(part) < count for part in parts):
        raise Refused(f"{text} is not a number below {count}", 404)
    return tuple(int(part) for part in parts[:1000])


def _json(content: Any) -> Response:
    return Response(json_text(content).encode(), media_type="application/json")


async def _refuse(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    return JSONResponse({"error": " ".join(str(error).split())}, error.status if isinstance(error, Refused) else 400)
