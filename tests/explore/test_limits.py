"""What is sent: too large, too many pixels, no image at all; and that none of it is written anywhere."""

from __future__ import annotations

import http.client
import os
import struct
import sys
import threading
import time
import zlib
from types import SimpleNamespace

import pytest
from PIL import ImageFile

from camexp.explore.engine import Engine
from tests.conftest import PATIENCE
from tests.explore.conftest import IMAGE, picture, until


def claims(width: int, height: int) -> bytes:
    """A tiny PNG that says it is large, as bombs do: the rows are zeros, which pack well."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [50_000, 8_000])
def test_a_bomb_is_refused_before_it_is_decoded(server, monkeypatch, side):
    """The first has more pixels than Pillow opens, the second more than we do."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("it was decoded"))
    answer = server.explain(claims(side, side))
    assert answer.status == 413 and "at most 50 million (limits.megapixels)" in answer.json["error"]


NO_IMAGES = {
    "text": b"hello", "html": b"<script>alert(1)</script>", "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 90 90\n%%EndComments\nshowpage\n",
    "half": picture()[:2000], "head": claims(90, 60), "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", NO_IMAGES)
def test_what_is_no_image_is_a_sentence(server, name):
    answer = server.explain(NO_IMAGES[name])
    assert answer.status == (415 if NO_IMAGES[name] else 400)
    assert answer.json["error"].startswith(
        "this is no image that can be read (" if NO_IMAGES[name] else "no image was sent"
    )
    assert "0x" not in answer.json["error"]


def test_what_says_that_it_is_too_large_is_not_read(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/explain")
    connection.putheader("content-type", "image/png")
    connection.putheader("content-length", str(100_000_001))
    connection.endheaders()  # and nothing more: who reads waits for ever
    answer = connection.getresponse()
    assert (answer.status, b"more than 100 MB" in answer.read()) == (413, True)
    connection.close()


def test_what_grows_too_large_is_stopped_on_its_way(serve, ckpt):
    server = serve(ckpt=ckpt, limits={"megabytes": 1})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.putrequest("POST", "/explain")
    connection.putheader("content-type", "image/png")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    sent, chunk = 0, bytes(1 << 16)
    with pytest.raises(ConnectionError):  # the server hangs up
        while sent < 1 << 28:
            connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            sent += len(chunk)
    assert 1_000_000 <= sent < 64_000_000  # what the sockets' buffers hold besides
    connection.close()
    assert server.explain(picture()).status == 200


def test_sizes_that_a_network_cannot_take(server):
    small = server.explain(picture((20, 50)), "size=own")
    assert small.status == 422 and "20 × 50 pixels: at least 32" in small.json["error"]
    large = server.explain(picture((64, 64)), "size=4000")
    assert large.status == 413 and "choose a smaller size" in large.json["error"]
    scaled = server.explain(picture((64, 64)), "size=1024&scales=1,4")
    assert scaled.status == 413 and "4 times as large" in scaled.json["error"]


class Slow:
    """The engine's thread waits in a forward pass until it is let go."""

    def __init__(self, server, monkeypatch):
        self.go, self.entered, original = threading.Event(), threading.Event(), Engine._explain

        def explain(engine, batch):
            self.entered.set()
            assert self.go.wait(PATIENCE)
            return original(engine, batch)

        monkeypatch.setattr(Engine, "_explain", explain)


def in_thread(function):
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    return thread, found


def test_who_comes_when_too_many_wait_is_told_so(serve, ckpt, monkeypatch):
    server = serve(ckpt=ckpt, limits={"waiting": 1})
    slow = Slow(server, monkeypatch)
    thread, first = in_thread(lambda: server.explain(picture()))
    assert slow.entered.wait(PATIENCE)
    second = server.explain(picture())
    assert second.status == 503 and "try again in a moment" in second.json["error"]
    slow.go.set()
    thread.join()
    assert first[0].status == 200 and server.explain(picture()).status == 200


def test_time_is_limited(serve, ckpt, monkeypatch):
    server = serve(ckpt=ckpt, limits={"seconds": 0.3})
    slow = Slow(server, monkeypatch)
    answer = server.explain(picture())
    assert answer.status == 503 and "longer than 0.3 s (limits.seconds)" in answer.json["error"]
    slow.go.set()
    assert until(lambda: server.explain(picture()).status == 200)


def test_a_method_of_many_passes_ends_between_two_of_them(serve, ckpt, monkeypatch):
    """Its thread is free again, not only its client told."""
    server = serve(ckpt=ckpt)
    passes, late = [], [0.0]

    def count(*_):
        passes.append(1)
        if len(passes) == 3:
            late[0] = 1e6  # the engine's clock alone: its client would wait for much longer

    monkeypatch.setattr("camexp.explore.engine.time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))
    hook = server.networks[0].loaded.model.trunk.register_forward_hook(count)
    answer = server.explain(picture(), "method=cam&scales=1,1.1,1.2,1.3,1.4,1.5,1.6,1.7&flip=1&ten_crop=1")
    hook.remove()
    assert answer.status == 503 and "limits.seconds" in answer.json["error"] and len(passes) == 3
    late[0] = 0.0
    assert server.explain(picture()).status == 200


def test_who_leaves_frees_the_queue(serve, ckpt, monkeypatch):
    server = serve(ckpt=ckpt)
    slow = Slow(server, monkeypatch)
    thread, _ = in_thread(lambda: server.explain(picture()))
    assert slow.entered.wait(PATIENCE)
    body = picture()
    leaving = http.client.HTTPConnection("127.0.0.1", server.port)
    leaving.request("POST", "/explain", body, IMAGE)
    until(lambda: server.explorer.waiting == 2)
    leaving.close()
    until(lambda: server.explorer.waiting == 1)
    slow.go.set()
    thread.join()


WRITES: list[tuple[str, int]] = []
WATCHING = False


def _watch(event: str, arguments: tuple) -> None:
    if WATCHING and event == "open":
        path, mode, flags = arguments
        if (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) or any(one in str(mode or "") for one in "wax+"):
            WRITES.append((str(path), flags))
    elif WATCHING and event in ("tempfile.mkstemp", "tempfile.mkdtemp", "os.mkdir", "os.rename"):
        WRITES.append((event, 0))


def test_nothing_is_written(server, monkeypatch):
    """Every file that this process opens while a large image is sent, seen by the interpreter itself."""
    global WATCHING
    sys.addaudithook(_watch)  # cannot be taken away: it rests outside this test
    body = picture((1200, 1000))
    assert len(body) > 3_000_000  # more than what forms keep in memory
    WRITES.clear()
    WATCHING = True
    try:
        answers = [server.explain(body, query) for query in ("", "photo=1", "size=96&flip=1")]
        open(os.devnull, "w").close()
    finally:
        WATCHING = False
    assert [answer.status for answer in answers] == [200] * 3
    assert [path for path, _ in WRITES] == [os.devnull]  # that it sees what is written
