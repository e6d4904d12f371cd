"""The images of a folder, which a page names by their numbers: no path ever comes from it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from camexp.errors import UserError
from camexp.explore.uploads import MEGA, Refused
from camexp.images import image_extensions

log = logging.getLogger(__name__)


class Gallery:
    """Images of a folder.

    Args:
        root: the folder; what a link leads to outside it is not served.
        paths: the images.

    Attributes:
        names: relative to the folder.
    """

    def __init__(self, root: Path, paths: Sequence[Path] = ()):
        self.root = root.resolve()
        inside = [path for path in paths if self._is_inside(path)]
        self.left_out = len(paths) - len(inside)
        self._paths = inside
        self.names = [str(path.relative_to(root)) for path in inside]

    def read(self, number: int, megabytes: float) -> bytes:
        """The content of an image's file.

        Raises:
            Refused: no such number, or what it names has become something else.
        """
        if not 0 <= number < len(self._paths):
            raise Refused(f"there is no image number {number}: the folder has {len(self._paths)}", 404)
        path = self._paths[number]
        if not self._is_inside(path) or not path.is_file():  # it was when the folder was searched
            raise Refused(f"{self.names[number]} is not in the folder any more", 404)
        try:
            if path.stat().st_size > megabytes * MEGA:
                raise Refused(f"{self.names[number]} has more than {megabytes:g} MB (limits.megabytes)", 413)
            return path.read_bytes()
        except OSError as error:
            raise Refused(f"{self.names[number]} cannot be read ({error.strerror})", 404) from error

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve(strict=True).is_relative_to(self.root)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            return False


def gallery_of(folder: str | None, files: Sequence[Path]) -> Gallery:
    """The gallery of ``input=``, empty without one.

    Args:
        folder: as the user gave it.
        files: all below it.

    Raises:
        UserError: no folder, or one without images.
    """
    if folder is None:
        return Gallery(Path())
    root = Path(folder).expanduser()
    gallery = Gallery(root, [path for path in files if path.suffix.lower() in image_extensions()])
    if gallery.left_out:
        log.warning(f"input={folder}: {gallery.left_out} links that lead out of the folder are left out")
    if not gallery.names:
        raise UserError(f"input={folder} is a folder without images: give a folder of images, or leave input= out")
    return gallery
