"""explore's server in this process, on a free port, and a client that sends what a browser would not."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uvicorn
from PIL import Image

from camexp.config import ExploreOptions
from camexp.explore import find_gallery, listen, load_networks
from camexp.explore.app import Explorer
from camexp.explore.engine import Engine
from camexp.explore.guard import Guard, Tokens, own_names
from camexp.explore.networks import Follower
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import PATIENCE

CLASSES = ["bird", "cat", "dog", "fish", "frog", "horse", "llama"]
IMAGE = {"content-type": "application/octet-stream"}


def save_network(path: Path, classes: list[str] = CLASSES, seed: int = 0, step: int | None = None) -> Path:
    """A thin VGG-11 with random weights."""
    torch.manual_seed(seed)
    head = {"channels": 8, "init_std": 0.3}
    model = CAMClassifier("vgg11_bn", classes, Preprocessing((64, 64)), width=1 / 16, head=head).eval()
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"camexp": checkpoint_metadata(model, {}), "state_dict": state}
    torch.save(content if step is None else content | {"global_step": step}, path)
    return path


def picture(size: tuple[int, int] = (90, 60), seed: int = 0, kind: str = "PNG") -> bytes:
    """The file of an image of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A server that runs."""

    port: int
    explorer: Explorer
    networks: list[Any]
    tokens: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None,
            host: str | None = None) -> Answer:  # fmt: skip
        """One request; the path goes over the wire as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            if host != "":
                connection.putheader("Host", host or f"127.0.0.1:{self.port}")
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def explain(self, body: bytes | None, query: str = "", **headers: str) -> Answer:
        return self.ask("POST", f"/explain{query and '?'}{query}", body, {**IMAGE, **headers})


@contextmanager
def running_server(with_tokens: bool = False, **values: Any) -> Iterator[Server]:
    given = {"port": 0, "gpus": 0, "precision": "32-true", "cam": {"method": "cam"}, **values}
    options = ExploreOptions.read(given)
    tokens: list[str] = []
    with ExitStack() as stack:
        listening = stack.enter_context(listen(options))
        networks = load_networks(options)
        engine = stack.enter_context(Engine(options.batch_size))
        stack.enter_context(Follower(networks, every=0.05))
        explorer = Explorer(networks, find_gallery(options), engine, options)
        asked = Tokens(listening.port, tokens.append) if with_tokens else None
        guarded = Guard(explorer.application(), not with_tokens, own_names(options.host), asked)
        server = uvicorn.Server(uvicorn.Config(guarded, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening.socket]}, daemon=True)
        thread.start()
        try:
            yield Server(listening.port, explorer, networks, tokens)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """``serve(ckpt=…, **options)``: a server while the test lasts."""
    with ExitStack() as stack:
        yield lambda **values: stack.enter_context(running_server(**values))


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_network(tmp_path_factory.mktemp("network") / "a.ckpt"))


@pytest.fixture(scope="module")
def server(ckpt: str) -> Iterator[Server]:
    """One server with the defaults for all tests of a module."""
    with running_server(ckpt=ckpt) as one:
        yield one


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What the condition says, as soon as it says something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")
