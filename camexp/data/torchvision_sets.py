"""The classification data sets of torchvision, by their names, with their own parts and classes."""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.data.arrays import IntArray, PathArray
from camexp.data.imageset import PARTS, ImageSet
from camexp.data.source import ImageSource
from camexp.data.torchvision_images import FakeImages, MemoryImages
from camexp.errors import UserError, nearest, reason
from camexp.images import open_image
from camexp.locks import exclusive

# Those with one class an image. ImageNet, Caltech-101 and Caltech-256 are dataset=imagenet, caltech101, caltech256.
NAMES = (
    "CIFAR10", "CIFAR100", "CLEVRClassification", "Country211", "DTD", "EMNIST", "EuroSAT", "FER2013", "FGVCAircraft",
    "FakeData", "FashionMNIST", "Flowers102", "Food101", "GTSRB", "INaturalist", "Imagenette", "KMNIST", "LFWPeople",
    "MNIST", "Omniglot", "OxfordIIITPet", "PCAM", "Places365", "QMNIST", "RenderedSST2", "SEMEION", "STL10", "SUN397",
    "SVHN", "StanfordCars", "USPS",
)  # fmt: skip
# What their split= calls each part, the first that a data set knows.
SPLITS = {"train": ("train", "trainval", "train-standard"), "val": ("val", "valid"), "test": ("test",)}
# The attributes in which they keep the images' files, labels and class names.
FILES = ("_images", "_image_files", "_samples", "samples", "imgs", "data")
LABELS = ("_labels", "targets", "labels")
PAIRS = ("_samples", "samples", "_flat_character_images")  # an image and its label each
EMNIST = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")  # sets, where others have parts


def find_torchvision(
    name: str | None, root: str = "data/torchvision", download: bool = False, **options: Any
) -> ImageSet:
    """A data set of ``torchvision.datasets``, its parts together.

    Images that are files stay files; those that the data set holds in memory are called ``root/NAME/PART/000123.png``.
    OxfordIIITPet brings masks: its trimaps' foreground, their borders ignored.

    Args:
        name: of its class, as ``Flowers102``.
        root: where torchvision keeps its files.
        download: fetch them where they are absent.
        options: further arguments of the class, as ``partition=2`` of DTD; ``split=`` takes one part alone.

    Raises:
        UserError: an unknown name, files that are absent or damaged, or an argument that it does not have.
    """
    from torchvision import datasets

    if name not in NAMES:
        came = "is not given" if name is None else "is no classification data set of torchvision"
        raise UserError(f"dataset.name{'' if name is None else f'={name}'} {came}: {nearest(str(name), NAMES)}")
    build = getattr(datasets, name)
    parameters = inspect.signature(build).parameters
    own = [key for key in parameters if not key.endswith(("transform", "transforms", "loader"))]
    if unknown := [key for key in options if key not in own]:
        raise UserError(f"dataset.{unknown[0]} is no option of torchvision's {name}: {nearest(unknown[0], own)}")
    arguments = {key: value for key, value in options.items() if value is not None}
    if "root" in parameters:
        arguments["root"] = str(Path(root).expanduser())
    more = any(one.kind is one.VAR_KEYWORD for one in parameters.values())  # MNIST's
    if "download" in parameters or more:
        arguments["download"] = download
    lock = Path(root).expanduser() / f".{name}.lock"
    with exclusive(lock, f"downloading {name}") if arguments.get("download") else contextlib.nullcontext():
        parts = _parts(build, name, parameters, arguments)
    return _image_set(name, Path(root).expanduser(), parts)


def _parts(build: Any, name: str, parameters: Mapping[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """The data set's objects by part; one without a part, ``""``, where it knows none."""
    tried: dict[str, list[dict[str, Any]]]
    if name == "EMNIST" and "split" not in arguments:
        raise UserError(f"dataset.name=EMNIST has several sets: add one as +dataset.split={', '.join(EMNIST)}")
    if "split" in parameters and "split" not in arguments:
        parts = [part for part in SPLITS if (name, part) != ("Places365", "test")]  # whose labels nobody tells
        tried = {part: [{"split": split} for split in SPLITS[part]] for part in parts}
    elif name == "EMNIST" or ("train" in parameters and "train" not in arguments):
        tried = {"train": [{"train": True}], "test": [{"train": False}]}
    else:
        tried = {"": [{}]}
    found = {}
    for part, ways in tried.items():
        for way in ways:
            try:
                found[part] = build(**arguments, **way)
                break
            except ValueError as error:  # what torchvision says of a value that an argument does not take
                if not ways[0] or "Unknown value" not in str(error):
                    raise UserError(f"dataset.name={name}: torchvision refuses it ({reason(error)})") from error
            except Exception as error:  # its readers raise all there is
                where = arguments.get("root")
                todo = (
                    "see whether the network and the disk let it"
                    if arguments.get("download")
                    else "give the folder that holds it"
                    + (", or fetch it with dataset.download=true" if "download" in arguments else "")
                )
                raise UserError(f"dataset.name={name} cannot be read in dataset.root={where} ({reason(error)}): {todo}"
                                ) from error  # fmt: skip
    return found


def _image_set(name: str, root: Path, parts: Mapping[str, Any]) -> ImageSet:
    objects = list(parts.values())
    labels = np.concatenate([_labels(name, one) for one in objects])
    files = [_files(one) for one in objects]
    source: ImageSource | None = None
    paths = PathArray.of(chain.from_iterable(one for one in files if one))
    if not all(files):
        source = FakeImages(objects[0]) if name == "FakeData" else MemoryImages(objects)
        paths = PathArray.of_bytes(
            os.fsencode(root / name / part / f"{number:06d}.png")
            for part, one in parts.items()
            for number in range(len(one))
        )
    known: dict[str, Any] = {}
    if name == "OxfordIIITPet":
        root = root / "oxford-iiit-pet" / "images"  # what lies beside the user's own root is not the pets'
        known = {"mask": _pet_mask, "ignore": _pet_border, "masked": _has_trimap}
    named = [PARTS.index(part) for part in parts if part]
    return ImageSet(
        root,
        _classes(objects[0], int(labels.max(initial=0)) + 1),
        paths,
        IntArray(labels),
        part=IntArray(np.repeat(named, [len(one) for one in objects])) if len(named) > 1 else None,
        source=source,
        **known,
    )


def _files(one: Any) -> list[str] | None:
    """The images' files, where they are files."""
    for name in FILES:
        found = getattr(one, name, None)
        if isinstance(found, Sequence) and len(found):
            first = found[0][0] if isinstance(found[0], (tuple, list)) else found[0]
            if isinstance(first, (str, os.PathLike)):
                return [os.fspath(each[0] if isinstance(each, (tuple, list)) else each) for each in found]
    return None


def _labels(name: str, one: Any) -> NDArray[np.int64]:
    if name == "FakeData":
        return np.array([FakeImages(one).label(index) for index in range(len(one))])
    found = next((value for key in LABELS if (value := getattr(one, key, None)) is not None), None)
    if found is None:
        pairs = next((value for key in PAIRS if (value := getattr(one, key, None)) is not None), one)
        found = [label for _, label in pairs]  # at worst every image is read
    if any(label is None for label in found):
        raise UserError(f"dataset.name={name} brings no labels of its test images: take +dataset.split=train")
    labels = np.asarray(found).astype(np.int64)
    return labels if labels.ndim == 1 else labels[:, 0]  # QMNIST's others say who wrote a digit


def _classes(one: Any, count: int) -> tuple[str, ...]:
    """The class names; the numbers where it has none. Of a list of synonyms the first."""
    names = getattr(one, "classes", None) or list(getattr(one, "class_to_idx", None) or {})
    if len(names) < count:
        return tuple(map(str, range(count)))
    return tuple(name if isinstance(name, str) else str(name[0]) for name in names)


def _trimap(image: Path) -> Path:
    return image.parents[1] / "annotations" / "trimaps" / f"{image.stem}.png"


def _has_trimap(image: Path) -> bool:
    return _trimap(image).is_file()


def _pet_mask(image: Path) -> NDArray[np.bool_] | None:
    return _pet_pixels(image, 1)


def _pet_border(image: Path) -> NDArray[np.bool_] | None:
    return _pet_pixels(image, 3)


def _pet_pixels(image: Path, value: int) -> NDArray[np.bool_] | None:
    """The pixels ``(H, W)`` of a trimap that are the animal (1) or its border (3); 2 is the background."""
    file = _trimap(image)
    if not file.is_file():
        return None
    try:
        with open_image(file) as trimap:
            return np.asarray(trimap) == value
    except Exception as error:  # Pillow's decoders raise all there is
        raise UserError(f"dataset.name=OxfordIIITPet: the mask {file} cannot be decoded ({reason(error)})") from error
