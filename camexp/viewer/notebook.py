"""The viewer in a notebook: Jupyter, VS Code, Colab; offline, from the data alone."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Union, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camexp.files import atomic_write
from camexp.images import read_image
from camexp.viewer.budget import photograph
from camexp.viewer.items import item, meta
from camexp.viewer.page import GALLERY, PageFile, json_text

if TYPE_CHECKING:
    from torch import Tensor

ImageLike = Union[Image.Image, str, "os.PathLike[str]", NDArray[np.uint8]]
HEIGHT = 780  # pixels of a notebook's cell


class Explained(Protocol):
    """What is shown of a :class:`camexp.CAMResult`, which lies in a part above this one."""

    @property
    def logits(self) -> Tensor: ...
    @property
    def maps(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...
    @property
    def classes(self) -> tuple[str, ...]: ...


class ViewerPage(str):
    """The HTML of a page, which a notebook shows as the page.

    >>> page = ViewerPage("<p>a page</p>")
    >>> page == "<p>a page</p>", "srcdoc" in page._repr_html_()
    (True, True)
    """

    def _repr_html_(self) -> str:
        # a page of its own inside the notebook's: neither can touch the other
        return (
            f'<iframe srcdoc="{escape(self)}" sandbox="allow-scripts allow-downloads" allow="clipboard-write" '
            f'title="Class activation maps" width="100%" height="{HEIGHT}" frameborder="0"></iframe>'
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file that any browser opens."""
        with atomic_write(path) as temporary:
            temporary.write_text(self, encoding="utf-8")


def show(
    image: ImageLike | Sequence[ImageLike], result: Explained, colormap: str = "jet", opacity: float = 0.5,
    threshold: float = 0.2,
) -> ViewerPage:  # fmt: skip
    """The viewer of images and their maps: as the last line of a notebook's cell it is shown there.

    All maps of the result are in the page, coloured and enlarged by it: ``labels="all"`` is worth asking for.

    Args:
        image: a PIL image, a path, or ``(H, W, 3)`` RGB bytes; a list of them for a batch.
        result: what :meth:`CAMClassifier.explain`, or another method, said of them.
        colormap, opacity, threshold: what the viewer begins with.

    Returns:
        The HTML, a ``str`` with ``save(path)``; a notebook displays it.

    Raises:
        ValueError: another number of images than of results.

    >>> import camexp, torch
    >>> from camexp.models import Preprocessing
    >>> model = camexp.CAMClassifier("vgg11", ["duck", "llama"], Preprocessing((64, 64)), width=1 / 16).eval()
    >>> photo = Image.new("RGB", (120, 90))
    >>> page = camexp.show(photo, model.explain(model.preprocess(photo)[None], "all"))
    >>> page[:15], "llama" in page
    ('<!DOCTYPE html>', True)
    """
    images = cast("list[ImageLike]", list(image) if isinstance(image, (list, tuple)) else [image])
    if len(images) != len(result.logits):
        raise ValueError(f"{len(images)} images and the results of {len(result.logits)} do not fit")
    logits, maps, labels = (part.cpu().numpy() for part in (result.logits, result.maps, result.labels))
    classes = result.classes or [f"class {label}" for label in range(logits.shape[1])]
    items = []
    for number, one in enumerate(images):
        opened, name = _open(one, f"image {number + 1}")
        size, photo = (opened.height, opened.width), photograph(opened)
        items.append(item(Path(name).name, name, size, photo, logits[number], maps[number], labels[number]))
    own = np.take_along_axis(logits, labels, 1)
    identity = bool(np.abs(maps.mean((2, 3)) - own).max() <= 1e-3 * max(1.0, np.abs(own).max()))
    page: dict[str, Any] = {
        "meta": meta(classes, identity, colormap=colormap, opacity=opacity, threshold=threshold),
        "highest": max(max(one["maps"]["high"]) for one in items),
    }
    file = io.StringIO()
    writer = PageFile(file, (*GALLERY, "predict"))
    writer.begin("Class activation maps")
    writer.block(json_text(items))
    writer.end(page)
    return ViewerPage(file.getvalue())


def _open(image: ImageLike, name: str) -> tuple[Image.Image, str]:
    """Upright RGB, and what it is called."""
    if isinstance(image, Image.Image):
        return image.convert("RGB"), os.fspath(getattr(image, "filename", "") or name)
    if isinstance(image, np.ndarray):
        return Image.fromarray(image).convert("RGB"), name
    return read_image(Path(image)), os.fspath(image)
