"""The networks of the page: where each comes from, and the newest state of a run that still trains."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from camexp.errors import UserError
from camexp.files import display_path
from camexp.models import CAMClassifier, load
from camexp.models.checkpoint import read_checkpoint
from camexp.run_files import CHECKPOINTS

log = logging.getLogger(__name__)

Stamp = tuple[str, int, int, int]
Load = Callable[[Path], CAMClassifier]
SECONDS = 1.0  # between two looks at a run's folder


@dataclass(frozen=True)
class Loaded:
    """A network as it was at some time; images that wait for it keep it, whatever comes after.

    Attributes:
        model: frozen, in eval mode.
        name: what a person calls it.
        version: counts from 1.
        step: of the training; ``None`` where it is not known.
    """

    model: CAMClassifier
    name: str
    version: int
    step: int | None


class Network:
    """A network of ``ckpt=``.

    Args:
        given: a checkpoint, a published network's name, or a run's folder: its newest checkpoint, followed.
        load: from a path to a network.

    Attributes:
        loaded: the newest whole one.

    Raises:
        UserError: nothing there that can be loaded.
    """

    def __init__(self, given: str, load: Load):
        self.given, self._load = Path(given).expanduser(), load
        folder = self.given / CHECKPOINTS
        self.folder = folder if folder.is_dir() else None
        path, self._seen = self._newest()
        self.loaded = self._load_as(path, 1)

    @property
    def follows(self) -> bool:
        """Whether it may change."""
        return self.folder is not None

    def refresh(self) -> bool:
        """Take a newer checkpoint, if there is one that is whole; whether there was.

        Checkpoints get their names when they are whole. One that is copied here may not be: it is tried again when
        it has changed, and until then the network stays what it was.
        """
        try:
            path, stamp = self._newest()
            if stamp == self._seen:
                return False
            self._seen = stamp
            loaded = self._load_as(path, self.loaded.version + 1)
        except (UserError, OSError) as error:
            log.warning(f"the newest checkpoint of {display_path(self.given)} is not shown: {error}")
            return False
        self.loaded = loaded
        return True

    def _newest(self) -> tuple[Path, Stamp | None]:
        if self.folder is None:
            return self.given, None
        found = []
        for path in self.folder.glob("*.ckpt"):
            if not path.name.startswith("."):  # a temporary name
                try:
                    about = path.stat()
                except FileNotFoundError:  # an old one that the run just removed
                    continue
                stamp = (path.name, about.st_mtime_ns, about.st_size, about.st_ino)
                found.append((about.st_mtime_ns, path.name == "last.ckpt", path.name, path, stamp))
        if not found:
            raise UserError(f"ckpt={self.given} is a run without a checkpoint so far: wait for its first one")
        *_, path, stamp = max(found)
        return path, stamp

    def _load_as(self, path: Path, version: int) -> Loaded:
        model = self._load(path)
        step = None
        if self.folder is not None:
            step = read_checkpoint(path, mmap=True).get("global_step")
        return Loaded(model, display_path(path) if path.exists() else str(path), version, step)


class Follower:
    """In its block a thread looks for newer checkpoints of the networks that may change.

    Args:
        networks: all of them.
        every: seconds.
    """

    def __init__(self, networks: Sequence[Network], every: float = SECONDS):
        self.networks = [network for network in networks if network.follows]
        self.every = every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow", daemon=True)

    def _run(self) -> None:
        torch.set_num_threads(1)  # it reads files; the cores are the engine's
        while not self._done.wait(self.every):
            for network in self.networks:
                if network.refresh():
                    step = network.loaded.step
                    log.info(f"  now          {network.loaded.name}" + (f", step {step}" if step is not None else ""))

    def __enter__(self) -> Follower:
        if self.networks:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self._thread.is_alive():
            self._thread.join(5)


def loader(device: str, precision: str) -> Load:
    """How a network is loaded: frozen, for no gradient need go further down than a method's layer."""

    def load_frozen(path: Path) -> CAMClassifier:
        model = load(path, device, precision)
        model.freeze("trunk")
        return model

    return load_frozen
