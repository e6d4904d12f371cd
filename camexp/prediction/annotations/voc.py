"""Pascal VOC XML (Everingham et al., *The Pascal Visual Object Classes Challenge*, IJCV 2010)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from camexp.files import atomic_write
from camexp.prediction.annotations.format import Format, append_line, stem
from camexp.prediction.annotations.objects import AnnotatedImage

# of all characters XML 1.0 can hold these only; a file name may have others, and bytes that are no character
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def voc_xml(image: AnnotatedImage, classes: Sequence[str], about: str) -> bytes:
    """One image's annotation; its corners are counted from 1, and inclusive.

    >>> from camexp.cam.boxes import Part
    >>> from camexp.prediction.annotations.objects import WeakLabel
    >>> import numpy as np
    >>> one = WeakLabel(0, 0.5, Part((1, 0, 2, 1), np.ones((2, 2), bool), 4))
    >>> text = voc_xml(AnnotatedImage("a.jpg", (2, 4), [one]), ["cat"], "weak labels").decode()
    >>> [text[text.index(f"<{corner}>") + 6] for corner in ("xmin", "ymin", "xmax", "ymax")]
    ['2', '1', '3', '2']
    """
    height, width = image.size
    root = Element("annotation")
    _add(root, folder="", filename=image.name)  # the name below the input folder, as CVAT writes it
    _add(SubElement(root, "source"), database=about)
    _add(SubElement(root, "size"), width=width, height=height, depth=3)
    _add(root, segmented=0)
    for one in image.objects:
        entry = SubElement(root, "object")
        _add(entry, name=classes[one.label], pose="Unspecified", truncated=0, difficult=0)
        corners = (value + 1 for value in one.part.box)
        _add(SubElement(entry, "bndbox"), **dict(zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)))
    ElementTree.indent(root)
    return bytes(ElementTree.tostring(root, encoding="utf-8")) + b"\n"


class VocFormat(Format):
    """``Annotations/PATH/IMAGE.xml``, and the images' names in ``ImageSets/Main/train.txt``."""

    files = "Annotations"
    lists_names = True

    def begin(self) -> None:
        self._list.unlink(missing_ok=True)

    def write(self, image: AnnotatedImage) -> Any:
        with atomic_write(self.path(image, ".xml")) as temporary:
            temporary.write_bytes(voc_xml(image, self.classes, self.about))
        return str(stem(image.name))

    def append(self, written: Any) -> None:
        append_line(self._list, written)

    @property
    def _list(self) -> Path:
        return self.folder / "ImageSets" / "Main" / "train.txt"


def _add(parent: Element, **texts: Any) -> None:
    for tag, text in texts.items():
        SubElement(parent, tag).text = _NOT_IN_XML.sub("\ufffd", str(text))
