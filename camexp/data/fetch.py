"""Fetch a file once into a folder, for all processes and runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from urllib.parse import urlsplit

from camexp.errors import UserError, reason
from camexp.files import atomic_write
from camexp.locks import exclusive
from camexp.reporting.progress import Progress


def fetch_file(url: str, root: Path, option: str, download: bool, max_gb: float) -> Path:
    """The file of that address below ``root``; of several processes one fetches it while the others wait.

    It has its name only once it is whole.

    Args:
        url: ``http://`` or ``https://``.
        root: the folder of all that is fetched, a folder in it for the files of one address.
        option: what gave the address, for errors.
        download: fetch it if it is not there.
        max_gb: of all that lies below ``root`` then, in 10⁹ bytes.

    Raises:
        UserError: it is not there and nothing may be fetched, no network, too large, or cut short.
    """
    parts = urlsplit(url)
    base, _, name = url.partition("?")[0].rpartition("/")
    target = root / f"{parts.hostname}-{hashlib.sha256(base.encode()).hexdigest()[:8]}" / name
    if target.is_file():
        return target
    if not name:
        raise UserError(f"{option}={url} names no file: expected an address as http://host/train-000.tar")
    if not download:
        raise UserError(f"{option}={url} is not in dataset.root={root}: fetch it with dataset.download=true")
    try:
        with exclusive(target.with_name(f".{name}.lock"), f"fetching {name}"):
            if not target.is_file():  # else another process was here before
                _fetch(url, target, root, max_gb)
    except OSError as error:
        raise UserError(f"{option}={url} cannot be fetched ({reason(error)}): bring it as {target} yourself") from error
    return target


def _fetch(url: str, target: Path, root: Path, max_gb: float) -> None:
    room = max_gb * 1e9 - sum(file.stat().st_size for file in root.rglob("*") if file.is_file())
    full = UserError(f"dataset.max_gb={max_gb:g} is too little for {url} and what is in dataset.root={root}: raise it")
    with atomic_write(target) as temporary:
        if not save_url(url, temporary, f"fetching {target.name}", room):
            raise full


def save_url(url: str, path: Path, title: str, room: float = float("inf")) -> bool:
    """What an address gives, as a file.

    Args:
        url: the address.
        path: the file; nothing is left half-written if the caller gives a temporary one.
        title: of the progress that is shown.
        room: bytes, at most.

    Returns:
        Whether there was room for it.

    Raises:
        OSError: no network, or less came than was announced.
    """
    import urllib.request  # only who downloads waits for it

    with urllib.request.urlopen(url, timeout=60) as response, path.open("wb") as file:
        size, fetched = int(response.headers.get("Content-Length") or 0), 0
        if size > room:
            return False
        with Progress(title, total=max(size >> 20, 1), unit="MiB") as progress:
            while chunk := response.read(1 << 20):
                fetched += len(chunk)
                if fetched > room:
                    return False
                file.write(chunk)
                progress.advance(1)
    if size and fetched != size:
        raise OSError(f"{fetched} of {size} bytes came")
    return True
