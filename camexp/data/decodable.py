"""Find the files that cannot be decoded before training starts, once a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from camexp.data.images import UnreadableImage, read_image
from camexp.data.imageset import ImageSet
from camexp.errors import UserError
from camexp.files import replacing
from camexp.reporting.progress import Progress

Skipped = tuple[Path, str]


def drop_undecodable(images: ImageSet, max_skipped: float) -> tuple[ImageSet, list[Skipped]]:
    """The data set without the files that cannot be decoded, and those files with their reasons.

    Every file is decoded in full, in threads. What was found is remembered under the user's cache
    folder by size and time of change, so that the next run on the same files need not look again.

    Args:
        images: the data set.
        max_skipped: the share of files, in [0, 1], that may be left out.

    Raises:
        UserError: more than that share, or a class of which nothing is left.
    """
    if not 0 <= max_skipped <= 1:
        raise UserError(f"dataset.max_skipped={max_skipped} is out of range: expected a share from 0 to 1")
    reasons = _reasons(images.paths, images.root)
    skipped = [(path, reason) for path, reason in zip(images.paths, reasons, strict=True) if reason]
    if len(skipped) > max_skipped * len(images):
        path, reason = skipped[0]
        raise UserError(
            f"dataset.root={images.root}: {len(skipped)} of {len(images)} images cannot be decoded "
            f"(the first is {path}: {reason}), more than dataset.max_skipped={max_skipped:g} allows: "
            "mend them or raise it"
        )
    kept = images.take([index for index, reason in enumerate(reasons) if not reason])
    bare = [name for name, count in zip(kept.classes, kept.count(), strict=True) if not count]
    if bare:
        raise UserError(f"dataset.root={images.root}: no image of the class {bare[0]} can be decoded")
    return kept, skipped


def _reasons(paths: Sequence[Path], root: Path) -> list[str]:
    """Why each file cannot be decoded; an empty text where it can."""
    memory = _memory(root)
    known = _remembered(memory)
    identities = [_identity(path) for path in paths]
    new = [index for index, identity in enumerate(identities) if identity not in known]
    if new:
        pool = ThreadPoolExecutor()  # decoding lets go of the interpreter: threads do
        try:
            with Progress("checking images", total=len(new), unit="images") as progress:
                for index, reason in zip(new, pool.map(_reason, [paths[index] for index in new]), strict=True):
                    known[identities[index]] = reason
                    progress.advance(1)
        finally:
            pool.shutdown(cancel_futures=True)  # Ctrl-C need not wait for a hundred thousand files
        _remember(memory, {identity: known[identity] for identity in identities})
    return [known[identity] for identity in identities]


def _reason(path: Path) -> str:
    try:
        read_image(path)
    except UnreadableImage as error:
        return str(error) or "unreadable"
    return ""


def _identity(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return f"{path.absolute()}|absent"
    return f"{path.absolute()}|{stat.st_size}|{stat.st_mtime_ns}"


def _memory(root: Path) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    name = hashlib.sha256(os.fsencode(root.absolute())).hexdigest()[:24]
    return Path(cache, "camexp", "decodable", f"{name}.json")


def _remembered(memory: Path) -> dict[str, str]:
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _remember(memory: Path, known: dict[str, str]) -> None:
    try:
        with replacing(memory) as temporary:
            temporary.write_text(json.dumps(known), encoding="utf-8")
    except OSError:
        pass  # a read-only home only means looking again next time
