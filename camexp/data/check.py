"""Find the images that cannot be decoded before training starts, each looked at once."""

from __future__ import annotations

import contextlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from camexp.data.arrays import IntArray
from camexp.data.imageset import ImageSet
from camexp.errors import UserError
from camexp.files import write_json
from camexp.images import UnreadableImage
from camexp.locks import exclusive
from camexp.record_log import KEY_BYTES, RecordLog, Records, SortedRecords, cache_path
from camexp.reporting.progress import Progress

Skipped = tuple[Path, str]
In = TypeVar("In")
Out = TypeVar("Out")

AT_ONCE = 8  # files that one thread is given
PORTION = 1024  # files after which the cache is written: so many a killed process checks again


def find_undecodable(images: ImageSet) -> list[Skipped]:
    """The files that cannot be decoded, with the reasons.

    Every file is decoded in full, in threads. The result is cached in the user's cache folder as the check proceeds, so
    that the next run, a run that was interrupted, and the other processes of this one, which wait for the first, decode
    only files that changed.
    """
    cache = RecordLog(cache_path(images.root, "decodable"), KEY_BYTES)
    keys = _keys(images)
    if not len(_unknown(keys, cache)):
        return []
    failures = cache.path.with_suffix(".failures.json")
    with exclusive(cache.path.with_suffix(".lock"), f"checking the images in {images.root}") as waited:
        unknown = _unknown(keys, cache)  # another process may have looked at them in the meantime
        # A failure is looked at again: it may have been the network's or the rights', not the file's. But processes
        # that check at one time are to find the same, or they would train on different images.
        told = _read_failures(failures) if waited else {}
        reasons = {index: told[key] for index in unknown.tolist() if (key := keys[index].tobytes().hex()) in told}
        unknown = np.setdiff1d(unknown, list(reasons), assume_unique=True)
        if len(unknown):
            with contextlib.suppress(OSError):
                failures.unlink(missing_ok=True)
            reasons |= _decode(images, keys, unknown, cache)
            with contextlib.suppress(OSError):  # a read-only home only means looking again
                write_json(failures, {keys[index].tobytes().hex(): reason for index, reason in reasons.items()})
    return [(images.paths[index], reasons[index]) for index in sorted(reasons)]


def drop_undecodable(images: ImageSet, skipped: Sequence[Skipped], max_skipped: float) -> ImageSet:
    """The data set less the skipped files.

    Args:
        images: the data set.
        skipped: what cannot be decoded.
        max_skipped: the share of files, in [0, 1], that may be left out.

    Raises:
        UserError: more than that share, or a class of which nothing is left.
    """
    if not skipped:
        return images
    if len(skipped) > max_skipped * len(images):
        path, reason = skipped[0]
        raise UserError(
            f"{images.given}: {len(skipped)} of {len(images)} images cannot be decoded "
            f"(the first is {path}: {reason}), more than dataset.max_skipped={max_skipped:g} allows: "
            "mend them or raise it"
        )
    gone = {os.fsencode(path) for path, _ in skipped}
    there = [encoded not in gone for encoded in images.path_array.iter_encoded()]
    kept = images.take(IntArray(np.flatnonzero(there)))
    bare = [name for name, count in zip(kept.classes, kept.count(), strict=True) if not count]
    if bare:
        raise UserError(f"{images.given}: no image of the class {bare[0]} can be decoded")
    return kept


def _keys(images: ImageSet) -> Records:
    """The cache key of each image, ``(N, KEY_BYTES)``; zeros where there is none."""
    keys = bytearray()
    for key in images.keys():  # noqa: SIM118 (no mapping)
        keys += key or bytes(KEY_BYTES)
    return np.frombuffer(keys, np.uint8).reshape(-1, KEY_BYTES)


def _unknown(keys: Records, cache: RecordLog) -> NDArray[np.int64]:
    """The indices of the files that are not in the cache."""
    return np.flatnonzero(~SortedRecords(cache.read()[0]).has(keys) | ~keys.any(1))


def _decode(images: ImageSet, keys: Records, indices: NDArray[np.int64], cache: RecordLog) -> dict[int, str]:
    """Decode the files at these indices, caching portion by portion which can be; why the others cannot."""
    reasons: dict[int, str] = {}
    sound: list[int] = []

    def look(some: NDArray[np.int64]) -> list[tuple[int, str]]:
        return [(int(index), _reason(images, int(index))) for index in some]

    def write_cache() -> None:
        with contextlib.suppress(OSError):  # a read-only home only means looking again next time
            cache.append(keys[[index for index in sound if keys[index].any()]])
        sound.clear()

    workers = min(32, (os.cpu_count() or 1) + 4)
    pool = ThreadPoolExecutor(workers)  # decoding lets go of the interpreter: threads do
    portions = (indices[first : first + AT_ONCE] for first in range(0, len(indices), AT_ONCE))
    try:
        with Progress("checking images", total=len(indices), unit="images") as progress:
            for found in _in_order(pool, look, portions, ahead=2 * workers):
                reasons |= {index: reason for index, reason in found if reason}
                sound += [index for index, reason in found if not reason]
                progress.advance(len(found))
                if len(sound) >= PORTION:
                    write_cache()
    finally:
        pool.shutdown(cancel_futures=True)
        write_cache()  # Ctrl-C loses nothing
    return reasons


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[In], Out], items: Iterable[In], ahead: int
) -> Iterator[Out]:
    """As ``pool.map``, which would queue a million items at once."""
    waiting: deque[Future[Out]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _reason(images: ImageSet, index: int) -> str:
    try:
        images.read(index)
    except UnreadableImage as error:
        return str(error) or "unreadable"
    return ""


def _read_failures(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(reason) for key, reason in content.items()} if isinstance(content, dict) else {}
