"""Caltech-256 (Griffin, Holub, Perona, 2007) and Caltech-101 (Li, Andreeto, Ranzato, Perona, 2003)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from camexp.data.download import download_archive
from camexp.data.imagefolder import class_folders, collect_images, has_extension, require_folder, resolve_extensions
from camexp.data.imageset import ImageSet
from camexp.errors import UserError

CALTECH256_URL = "https://data.caltech.edu/records/nyy15-4j048/files/256_ObjectCategories.tar?download=1"
CALTECH256_MD5 = "67b4f42ca05d46448c6bb8ecd2220f6d"


def find_caltech256(
    root: str | None,
    download: bool = False,
    extensions: Sequence[str] | None = None,
    url: str = CALTECH256_URL,
    md5: str = CALTECH256_MD5,
) -> ImageSet:
    """Caltech-256: ``001.ak47/001_0001.jpg`` … ``257.clutter``; the class is called ``ak47``.

    What the public archive holds beside its images (``198.spider/RENAME2``, ``056.dog/greg/``) is left out.

    Args:
        root: the folder that holds or is ``256_ObjectCategories``.
        download: fetch the archive (1.2 GB) into ``root`` where it is absent.
        extensions: see :func:`camexp.data.imagefolder.find_imagefolder`.
        url, md5: the archive's address and its published checksum.

    Raises:
        UserError: no such folder, a failed download, or no image.
    """
    name = "256_ObjectCategories"
    if download:
        download_archive(_given(root), name, url, md5)
    folder = _inside(require_folder(root), name)
    folders = [entry for entry in class_folders(folder) if re.fullmatch(r"\d{3}\..+", entry.name)]
    endings = resolve_extensions(extensions)

    of_class, has_ending = set(map(str, folders)), has_extension(endings)

    def is_image(folder_name: str, name: str) -> bool:
        return folder_name in of_class and has_ending(folder_name, name) and re.match(r"\d{3}_\d{4}", name) is not None

    return collect_images(folder, folders, lambda directory: directory.split(".", 1)[1], is_image)


def find_caltech101(root: str | None, extensions: Sequence[str] | None = None) -> ImageSet:
    """Caltech-101: ``accordion/image_0001.jpg`` …; ``BACKGROUND_Google`` is no class of objects and is left out.

    Args:
        root: the folder that holds or is ``101_ObjectCategories`` (the archive's ``caltech-101`` will do).
        extensions: see :func:`camexp.data.imagefolder.find_imagefolder`.
    """
    folder = _inside(require_folder(root), "101_ObjectCategories")
    folders = [entry for entry in class_folders(folder) if entry.name != "BACKGROUND_Google"]
    endings = resolve_extensions(extensions)
    return collect_images(folder, folders, str, has_extension(endings))


def _given(root: str | None) -> Path:
    if not root:
        raise UserError("dataset.root is not given: add dataset.root=DIR, the folder to download into")
    return Path(root).expanduser()


def _inside(root: Path, name: str) -> Path:
    return root / name if (root / name).is_dir() else root
