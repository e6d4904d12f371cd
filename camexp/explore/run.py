"""From options to a server that runs until Ctrl-C."""

from __future__ import annotations

import logging
import threading
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from camexp.cam.colour import colour_map
from camexp.config import ExploreOptions
from camexp.config.validation import validated
from camexp.data.imagefolder import walk
from camexp.devices import select_device
from camexp.discovery import import_modules
from camexp.errors import Interrupted, UserError
from camexp.explore.listening import Listening
from camexp.explore.networks import Follower, Network, loader
from camexp.extras import lacking, requirements
from camexp.launching.signals import Interrupts, signal_name
from camexp.methods import build_method, refuse_observer

if TYPE_CHECKING:
    from camexp.explore.gallery import Gallery  # it needs what the extra brings

log = logging.getLogger(__name__)


def read_options(config: DictConfig) -> ExploreOptions:
    """The composed configuration, validated.

    Raises:
        UserError: a wrong option, or packages that are not installed.
    """
    options = validated(config, ExploreOptions)
    require_packages()
    colour_map(options.colormap)
    import_modules("camexp.methods")  # the page lists them all
    refuse_observer(build_method(options.cam), options.cam.method)
    return options


def require_packages() -> None:
    """What the extra brings is there.

    Raises:
        UserError: it is not.
    """
    if problems := list(_lacking()):
        raise UserError(f"explore needs a web server ({'; '.join(problems)}): pip install 'camexp[explore]'")


def _lacking() -> Iterator[str]:
    for name in ("starlette", "uvicorn"):
        if find_spec(name) is None:
            yield f"{name} is missing"
            return
    with suppress(PackageNotFoundError):  # it runs from a folder, and is not installed
        yield from filter(None, map(lacking, requirements("explore")))


def find_gallery(options: ExploreOptions) -> Gallery:
    """The images of ``input=``.

    Raises:
        UserError: no folder, or one without images.
    """
    from camexp.explore.gallery import gallery_of

    if options.input is None:
        return gallery_of(None, [])
    folder = Path(options.input).expanduser()
    if not folder.is_dir():
        raise UserError(f"input={options.input} is not a folder: give a folder of images, or leave input= out")
    return gallery_of(options.input, list(walk(folder)))


def load_networks(options: ExploreOptions) -> list[Network]:
    """The networks of ``ckpt=``, on one device.

    Raises:
        UserError: one that cannot be loaded.
    """
    import torch

    load, threads = loader(select_device(options.gpus), options.precision), torch.get_num_threads()
    # OpenMP makes each thread that calls it a team, and teams that together have more threads than there are cores go
    # to sleep between any two layers: only the engine's thread is to have one
    torch.set_num_threads(1)
    try:
        return [Network(given, load) for given in options.checkpoints]
    finally:
        torch.set_num_threads(threads)


def serve(networks: Sequence[Network], gallery: Gallery, listening: Listening, options: ExploreOptions) -> None:
    """Answer until Ctrl-C.

    Raises:
        Interrupted: that.
    """
    import uvicorn

    from camexp.explore.app import Explorer
    from camexp.explore.engine import Engine
    from camexp.explore.guard import Guard, Tokens, own_names

    for network in networks:
        step = "" if network.loaded.step is None else f", step {network.loaded.step}"
        followed = "   (followed while it trains)" if network.follows else ""
        log.info(f"  network      {network.loaded.name}{step}{followed}")
    if gallery.names:
        log.info(f"  images       {len(gallery.names)} of {gallery.root}")
    interrupts = Interrupts("explore has ended")
    with interrupts, Engine(options.batch_size) as engine, Follower(networks):
        explorer = Explorer(networks, gallery, engine, options)
        tokens = None
        if listening.local:
            log.info(f"  look at      {listening.address}   (in a browser on this machine; Ctrl-C ends it)")
        else:
            tokens = Tokens(listening.port, lambda token: _announce(listening, token))
        guarded = Guard(explorer.application(), listening.local, own_names(listening.host), tokens)
        config = uvicorn.Config(
            guarded, log_config=None, access_log=False, lifespan="off", ws="none", server_header=False,
            timeout_graceful_shutdown=2, h11_max_incomplete_event_size=1 << 16,
        )  # fmt: skip
        if options.browser and listening.local:
            threading.Thread(target=webbrowser.open, args=(listening.address,), daemon=True).start()
        # it catches signals, ends, and sends itself what it caught: then it is ours
        uvicorn.Server(config).run(sockets=[listening.socket])
    if interrupts.signum:
        raise Interrupted(f"stopped by {signal_name(interrupts.signum)}", interrupts.signum)


def _announce(listening: Listening, token: str) -> None:
    log.info(f"  look at      {listening.address}?token={token}   (opens one browser; Ctrl-C ends it)")
