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


def find_undecodable(images: ImageSet) -> list[Skipped]:
    """The files that cannot be decoded, with the reasons.

    Every file is decoded in full, in threads. Which ones could be is remembered under the user's cache
    folder by size and time of change, so that the next run on the same files need not look again.
    """
    reasons = _reasons(images.paths, images.root)
    return [(path, reason) for path, reason in zip(images.paths, reasons, strict=True) if reason]


def without(images: ImageSet, skipped: Sequence[Skipped], max_skipped: float) -> ImageSet:
    """The data set less the skipped files.

    Args:
        images: the data set.
        skipped: what cannot be decoded.
        max_skipped: the share of files, in [0, 1], that may be left out.

    Raises:
        UserError: more than that share, or a class of which nothing is left.
    """
    if len(skipped) > max_skipped * len(images):
        path, reason = skipped[0]
        raise UserError(
            f"dataset.root={images.root}: {len(skipped)} of {len(images)} images cannot be decoded "
            f"(the first is {path}: {reason}), more than dataset.max_skipped={max_skipped:g} allows: "
            "mend them or raise it"
        )
    gone = {path for path, _ in skipped}
    kept = images.take([index for index, path in enumerate(images.paths) if path not in gone])
    bare = [name for name, count in zip(kept.classes, kept.count(), strict=True) if not count]
    if bare:
        raise UserError(f"dataset.root={images.root}: no image of the class {bare[0]} can be decoded")
    return kept


def _reasons(paths: Sequence[Path], root: Path) -> list[str]:
    """Why each file cannot be decoded; an empty text where it can."""
    memory = _memory(root)
    known = dict.fromkeys(_remembered(memory), "")
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
        # a failure is looked at again: it may have been the network's or the rights', not the file's
        _remember(memory, [identity for identity in identities if not known[identity]])
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


def _remembered(memory: Path) -> list[str]:
    try:
        content = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return content if isinstance(content, list) and all(isinstance(one, str) for one in content) else []


def _remember(memory: Path, decodable: list[str]) -> None:
    try:
        with replacing(memory) as temporary:
            temporary.write_text(json.dumps(decodable), encoding="utf-8")
    except OSError:
        pass  # a read-only home only means looking again next time
