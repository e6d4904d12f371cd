"""The folder that the documentation's commands and snippets find: photographs, boxes, weights, a trained network."""

from __future__ import annotations

import contextlib
import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from camexp.models import build_trunk
from tests.conftest import paint
from tests.data import layouts
from tests.docs.blocks import Command
from tests.docs.running import WIDTH, run

ANIMALS = {"duck": (220, 200, 60), "llama": (150, 100, 60), "zebra": (120, 120, 130)}
BOX = (8, 6, 39, 33)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder, made once for all pages."""
    folder = tmp_path_factory.mktemp("documentation")
    photographs(folder / "photos", "{name}", "{name}_{number}.jpg")
    photographs(folder / "data/caltech256/256_ObjectCategories", "{place:03d}.{name}", "{place:03d}_{number:04d}.jpg")
    photographs(folder / "data/caltech101/101_ObjectCategories", "{name}", "image_{number:04d}.jpg")
    photographs(folder / "flowers", "images", "{name}_{number}.jpg")
    paint(folder / "photo.jpg", ANIMALS["llama"], (64, 48), seed=50)
    paint(folder / "my_llama.jpg", ANIMALS["llama"], seed=51)
    layouts.cub200(folder / "data")
    layouts.torchvision(folder / "pets", each=8)
    layouts.huggingface(folder, each=8)
    layouts.webdataset(folder / "shards")
    layouts.webdataset(folder / "shards", 1, part="val")
    scoremaps(folder, layouts.wsol(folder, name="CUB"))
    truth(folder)
    pretrained(folder)
    with contextlib.chdir(folder) if hasattr(contextlib, "chdir") else _chdir(folder):
        trained = ("dataset=imagefolder", "dataset.root=photos", "hydra.run.dir=run", "trainer.max_steps=6")
        assert run(Command("train", trained), folder) == 0
        shutil.copy("run/checkpoints/best.ckpt", "best.ckpt")
        assert run(Command("predict", ("ckpt=best.ckpt", "input=photo.jpg", "output=maps_of")), folder) == 0
        shutil.move("maps_of/maps", "maps")
    return folder


@contextlib.contextmanager
def _chdir(folder: Path) -> Iterator[None]:
    """contextlib.chdir came with Python 3.11."""
    import os

    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def photographs(root: Path, folder: str, file: str) -> None:
    for place, (name, colour) in enumerate(ANIMALS.items(), 1):
        for number in range(1, 9):
            words = {"place": place, "name": name, "number": number}
            paint(root / folder.format(**words) / file.format(**words), colour, seed=number)


def truth(folder: Path) -> None:
    """Boxes, masks and heat maps of the photographs, and the tables that the pages speak of."""
    names = [f"{name}/{name}_{number}.jpg" for name in ANIMALS for number in range(1, 9)]
    write(folder / "boxes.csv", [("image", "x0", "y0", "x1", "y1"), *((name, *BOX) for name in names)])
    write(folder / "localization.txt", [(name, *BOX) for name in names])
    flowers = [f"images/{Path(name).name}" for name in names]
    write(folder / "flowers/boxes.csv", [("image", "x0", "y0", "x1", "y1"), *((name, *BOX) for name in flowers)])
    labels = [(name, Path(name).name.partition("_")[0]) for name in flowers]
    write(folder / "flowers/labels.csv", [("file", "class"), *labels])
    mask = np.zeros((40, 48), np.uint8)
    mask[BOX[1] : BOX[3] + 1, BOX[0] : BOX[2] + 1] = 255
    for number, name in enumerate(names):
        for kind in ("masks", "heatmaps"):
            (folder / kind / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save((folder / "masks" / name).with_suffix(".png"))
        noise = np.random.default_rng(number).random((40, 48), np.float32)
        np.save((folder / "heatmaps" / name).with_suffix(".npy"), 0.7 * mask / 255 + 0.3 * noise)


def scoremaps(folder: Path, options: dict[str, str]) -> None:
    """Maps of the images of wsolevaluation's lists, as its programs make them."""
    for part in ("val", "test"):
        for number, name in enumerate((Path(options["metadata"]) / part / "image_ids.txt").read_text().split()):
            (folder / "scoremaps" / name).parent.mkdir(parents=True, exist_ok=True)
            cam = np.random.default_rng(number).random((40, 60), np.float32)
            np.save((folder / "scoremaps" / name).with_suffix(".npy"), cam)


def pretrained(folder: Path) -> None:
    """Weights of VGG at 1/16 of its width, as torchvision and as TensorFlow name them."""
    state = build_trunk("vgg16", WIDTH).features.state_dict()
    save_file({f"features.{key}": value for key, value in state.items()}, folder / "vgg16.safetensors")
    layers = {
        name: [conv.weight.detach().permute(2, 3, 1, 0).numpy(), conv.bias.detach().numpy()]
        for name, (conv, *_) in build_trunk("vgg19", WIDTH).layers.items()
    }
    np.save(folder / "vgg19.npy", np.array(layers, dtype=object), allow_pickle=True)


def write(path: Path, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
