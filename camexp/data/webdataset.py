"""webdataset's shards as an image set with an order of ours: any image can be read, so any run can be resumed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from camexp.data.arrays import IntArray, PathArray
from camexp.data.fetch import fetch_file
from camexp.data.imageset import PARTS, UNLABELLED, ImageSet
from camexp.data.shards import ShardImages, ShardIndex, shard_index
from camexp.errors import UserError, reason
from camexp.reporting.progress import Progress

Urls = str | Sequence[str] | None
OPTIONS = {"train": "dataset.urls", "val": "dataset.val_urls", "test": "dataset.test_urls"}


def find_webdataset(
    urls: Urls,
    val_urls: Urls = None,
    test_urls: Urls = None,
    root: str = "data/webdataset",
    label_key: str = "label",
    names: str | None = None,
    download: bool = False,
    max_gb: float = 100,
) -> ImageSet:
    """Images in tar shards: ``000017.jpg`` and beside it ``000017.cls``, the class as a number or a name, or
    ``000017.json`` with it.

    Args:
        urls: the shards, as ``shards/train-{000..127}.tar``, with ``*``, or a list; local, or ``http(s)://`` ones,
            which are fetched once.
        val_urls, test_urls: those to validate and to test on; without any, the group ``split`` divides.
        root: the folder of fetched shards.
        label_key: the key of the class in a ``.json``; ``none``: images without classes, for predict.
        names: a text file with a class's name on each line, where labels are numbers.
        download: fetch what is not in ``root`` yet.
        max_gb: of what is fetched, in 10⁹ bytes.

    Raises:
        UserError: a shard that is absent or damaged, an image without a class, or a label that is none.
    """
    shards = {part: _shards(given, OPTIONS[part], Path(root).expanduser(), download, max_gb)
              for part, given in zip(PARTS, (urls, val_urls, test_urls), strict=True)}  # fmt: skip
    if not shards["train"]:
        raise UserError('dataset.urls is not given: add "dataset.urls=shards/train-{000..127}.tar"')
    files = list(chain.from_iterable(shards.values()))
    if double := next((file for file, count in Counter(files).items() if count > 1), None):
        raise UserError(f"dataset.urls names {double} twice: expected parts without a common image")
    with Progress("indexing shards", total=len(files), unit="shards") as progress:
        indices = []
        for file in files:
            indices.append(shard_index(file, "dataset.urls"))
            progress.advance(1)
    folder = Path(os.path.commonpath([file.parent for file in files]))
    labels, classes = _labels(files, indices, label_key, names)
    counts = [sum(len(index.spans) for file, index in zip(files, indices, strict=True) if file in some)
              for some in map(set, shards.values())]  # fmt: skip
    return ImageSet(
        folder,
        classes,
        PathArray.of_bytes(
            os.path.join(os.fsencode(file), name)
            for file, index in zip(files, indices, strict=True)
            for name in index.names.iter_encoded()
        ),
        labels,
        part=IntArray(np.repeat(range(len(PARTS)), counts)) if sum(map(bool, counts)) > 1 else None,
        source=ShardImages(files, indices),
        option="dataset.urls",
    )


def expand_braces(text: str) -> list[str]:
    """What a shell makes of ``{000..127}`` and ``{a,b}``.

    >>> expand_braces("a-{08..10}.tar"), expand_braces("{x,y}/{1..2}")
    (['a-08.tar', 'a-09.tar', 'a-10.tar'], ['x/1', 'x/2', 'y/1', 'y/2'])
    """
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", text)
    if found is None:
        return [text]
    first, last, listed = found.groups()
    if listed is not None:
        middle = listed.split(",")
    else:
        width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
        step = 1 if int(first) <= int(last) else -1
        middle = [f"{number:0{width}d}" for number in range(int(first), int(last) + step, step)]
    rests = expand_braces(text[found.end() :])
    return [text[: found.start()] + one + rest for one in middle for rest in rests]


def _shards(urls: Urls, option: str, root: Path, download: bool, max_gb: float) -> list[Path]:
    """The files of the shards; what is not local is fetched."""
    files = []
    for url in chain.from_iterable(map(expand_braces, [urls] if isinstance(urls, str) else urls or [])):
        if re.match(r"https?://", url):
            files.append(fetch_file(url, root, option, download, max_gb))
            continue
        if url.startswith("pipe:") or "://" in url:
            raise UserError(f"{option}={url} is neither a path nor http(s)://: fetch the shards, and give their paths")
        path = Path(url).expanduser()
        found = sorted(path.parent.glob(path.name)) if "*" in path.name else [path]
        if absent := next((one for one in found or [path] if not one.is_file()), None):
            raise UserError(
                f'{option}={url}: there is no shard {absent}: expected tar files, as "shards/train-{{000..127}}.tar"'
            )
        files += found
    return files


def _labels(
    files: Sequence[Path], indices: Sequence[ShardIndex], key: str, names: str | None
) -> tuple[IntArray, tuple[str, ...]]:
    if key == "none":
        return IntArray(np.zeros(sum(len(index.spans) for index in indices), np.int64)), UNLABELLED
    found = [_label(file, os.fsdecode(name), json.loads(told), key)
             for file, index in zip(files, indices, strict=True)
             for name, told in zip(index.names.iter_encoded(), index.labels.iter_encoded(), strict=True)]  # fmt: skip
    numbered = all(one.isdecimal() for one in found)
    if names is None:
        classes = sorted(set(found), key=int if numbered else None)
        number = {name: label for label, name in enumerate(classes)}
        return IntArray([number[one] for one in found]), tuple(classes)
    try:
        listed = Path(names).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"dataset.names={names} cannot be read ({reason(error)}): give a text file of names") from error
    if wrong := next((one for one in found if not one.isdecimal() or int(one) >= len(listed)), None):
        raise UserError(
            f"dataset.names={names} has {len(listed)} names, and the shards have the label {wrong}: expected a line "
            "for each number from 0"
        )
    return IntArray([int(one) for one in found]), tuple(listed)


def _label(file: Path, name: str, told: Mapping[str, str], key: str) -> str:
    value: Any = told.get(".cls", "")
    if not value and ".json" in told:
        try:
            content = json.loads(told[".json"])
        except ValueError as error:
            raise UserError(f"dataset.urls: the .json of {name} in {file} is none ({reason(error)})") from error
        value = content.get(key) if isinstance(content, dict) else None
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        beside = ", ".join(sorted(told)) or "nothing that says it"
        raise UserError(
            f"dataset.urls: {name} in {file} has no class (beside it: {beside}): expected a .cls, or a .json with the "
            f"key dataset.label_key={key}, a whole number or a name"
        )
    return str(value)
