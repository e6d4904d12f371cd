"""Fetch a published archive, check it and unpack it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
from pathlib import Path

from camexp.errors import UserError


def download_archive(root: Path, name: str, url: str, md5: str) -> Path:
    """The folder ``root/name`` from a tar archive that holds it; nothing is done where it exists.

    A fetched archive is kept only until it is unpacked; one that was there before stays. Members that would
    land outside the folder (``../``,
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
        fetched = not (archive.is_file() and _md5(archive) == md5)
        if fetched:
            _fetch(url, archive, md5)
        with tempfile.TemporaryDirectory(dir=root, prefix=".unpacking-") as unpacking:
            with tarfile.open(archive) as tar:
                tar.extractall(unpacking, filter="data")
            inside = Path(unpacking, name)
            if not inside.is_dir():
                raise UserError(f"dataset.download: {archive} does not hold a folder {name}")
            inside.rename(target)
    except (OSError, RuntimeError, tarfile.TarError, EOFError) as error:
        raise UserError(
            f"dataset.download=true failed ({error}): bring {url} as {archive} yourself, "
            f"or unpack it and give dataset.root=DIR, the folder that holds {name}"
        ) from error
    if fetched:
        archive.unlink()
    return target


def _fetch(url: str, archive: Path, md5: str) -> None:
    import urllib.request

    from camexp.reporting.progress import Progress

    partial = archive.with_name(archive.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as response, partial.open("wb") as file:
            size = int(response.headers.get("Content-Length") or 0)
            with Progress("downloading", total=max(size >> 20, 1), unit="MiB") as progress:
                while chunk := response.read(1 << 20):
                    file.write(chunk)
                    progress.advance(1)
        found = _md5(partial)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if found != md5:
        partial.unlink()
        raise UserError(f"dataset.download: {url} came with MD5 {found}, expected {md5}: try again")
    shutil.move(partial, archive)


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
