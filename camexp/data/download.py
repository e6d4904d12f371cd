"""Fetch a published archive, check it and unpack it."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from camexp.data.fetch import save_url
from camexp.errors import UserError
from camexp.locks import exclusive, lock_file

TEMPORARY = ".download-"  # how the folder of a process that downloads is called
LOCK = "lock"


def download_archive(root: Path, name: str, url: str, md5: str) -> Path:
    """The folder ``root/name`` from a tar archive that holds it; nothing is done where it exists.

    Of several processes that want it one fetches and unpacks while the others wait. A fetched archive is kept only
    until it is unpacked; one that was there before stays. Members that would land outside the folder (``../``,
    absolute paths, links, devices) end the unpacking.

    Raises:
        UserError: no network, a checksum that differs, or an archive that is damaged or hostile.
    """
    target = root / name
    if target.is_dir():
        return target
    archive = root / f"{name}.tar"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with exclusive(root / f".{name}.lock", f"downloading {name}"):
            if not target.is_dir():  # else another process was here before
                _remove_abandoned(root)
                with _temporary_folder(root) as folder:
                    _download(target, archive, url, md5, folder)
    except (OSError, RuntimeError, tarfile.TarError, EOFError) as error:
        raise UserError(
            f"dataset.download=true failed ({error}): bring {url} as {archive} yourself, "
            f"or unpack it and give dataset.root=DIR, the folder that holds {name}"
        ) from error
    return target


def _download(target: Path, archive: Path, url: str, md5: str, folder: Path) -> None:
    """All that is not whole yet is in this process's own folder: there may be others at work."""
    fetched = None if archive.is_file() and _md5(archive) == md5 else _fetch(url, folder / archive.name, md5)
    unpacked = folder / "unpacked"
    inside = unpacked / target.name
    try:
        with tarfile.open(fetched or archive) as tar:
            tar.extractall(unpacked, filter="data")
        if not inside.is_dir():
            raise UserError(f"dataset.download: {archive} does not hold a folder {target.name}")
    except BaseException:
        if fetched:  # after a full disk or a Ctrl-C it need not be fetched again
            fetched.replace(archive)
        raise
    try:
        inside.rename(target)
    except OSError:
        if not target.is_dir():  # else another process was quicker, where the file system knows no locks
            raise


@contextmanager
def _temporary_folder(root: Path) -> Iterator[Path]:
    """A folder for this process alone, under a lock that tells the others that it is alive."""
    with (
        tempfile.TemporaryDirectory(dir=root, prefix=TEMPORARY, ignore_cleanup_errors=True) as folder,
        contextlib.ExitStack() as held,
    ):
        with contextlib.suppress(OSError):  # a file system without locks
            held.enter_context(lock_file(Path(folder, LOCK), shared=False))
        yield Path(folder)


def _remove_abandoned(root: Path) -> None:
    """What killed processes have left, up to the size of the archive."""
    for folder in root.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError), lock_file(folder / LOCK, shared=False):
            shutil.rmtree(folder, ignore_errors=True)


def _fetch(url: str, path: Path, md5: str) -> Path:
    save_url(url, path, "downloading")
    found = _md5(path)
    if found != md5:
        raise UserError(f"dataset.download: {url} came with MD5 {found}, expected {md5}: try again")
    return path


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
