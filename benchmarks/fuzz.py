"""Throw mutated files at every reader: each must be read, or refused with a clear error, and nothing else.

``python benchmarks/fuzz.py --files 10000 [--readers images weights]``. Mutations are flipped bits, overwritten and
repeated and removed stretches, interesting numbers, and pieces of other files; seeded, so that a finding comes again.
A finding (another exception, or more than ``--seconds``) is printed with its file kept; after a crash of the
interpreter the last file lies in ``--keep`` too.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import pickle
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from scipy.io import savemat

from camexp import UserError
from camexp.data import UnreadableImage, read_image
from camexp.data.box_formats import read_boxes
from camexp.evaluation.ground_truth import _read_mask
from camexp.evaluation.heatmaps import read_heatmap
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from camexp.models.checkpoint import load
from camexp.models.trunks import build_trunk
from camexp.models.weights import load_weights
from camexp.reporting.progress import Progress
from camexp.training.resume import newest_intact

Seeds = list[tuple[str, bytes]]
NUMBERS = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\x80\x00\x00\x00"]


def mutate(content: bytes, others: Seeds, dice: random.Random) -> bytes:
    """One to eight changes to a file."""
    data = bytearray(content)
    for _ in range(dice.randint(1, 8)):
        if not data:
            return bytes(data)
        start = dice.randrange(len(data))
        length = min(dice.choice((1, 2, 4, 16, 200)), len(data) - start)
        kind = dice.randrange(7)
        if kind == 0:
            data[start] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[start : start + length] = dice.randbytes(length)
        elif kind == 2:
            del data[start : start + length]
        elif kind == 3:
            data[start:start] = data[start : start + length] * dice.randint(1, 3)
        elif kind == 4:
            data[start : start + 4] = dice.choice(NUMBERS)
        elif kind == 5:
            other = dice.choice(others)[1]
            begin = dice.randrange(max(len(other), 1))
            data[start : start + length] = other[begin : begin + length]
        elif dice.random() < 0.3:
            del data[start:]
    return bytes(data)


def image_seeds() -> Seeds:
    """A small picture in the formats that people have."""
    pixels = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    seeds = []
    for kind in (
        "JPEG",
        "PNG",
        "GIF",
        "TIFF",
        "BMP",
        "WEBP",
        "PPM",
        "TGA",
        "ICO",
        "JPEG2000",
        "SGI",
        "PCX",
        "DDS",
        "ICNS",
    ):
        buffer = io.BytesIO()
        picture = Image.fromarray(pixels)
        picture.resize((64, 64)).save(buffer, kind) if kind in ("ICO", "ICNS") else picture.save(buffer, kind)
        seeds.append((f".{kind.lower()}", buffer.getvalue()))
    return seeds


def weight_seeds() -> Seeds:
    """A narrow trunk's weights in the four formats, and a checkpoint's."""
    state = build_trunk("vgg11", 1 / 32).features.state_dict()
    torch_file, numpy_file = io.BytesIO(), io.BytesIO()
    torch.save(state, torch_file)
    layers = {"conv1_1": [np.zeros((3, 3, 3, 2), np.float32), np.zeros(2, np.float32)]}
    np.save(numpy_file, np.array(layers, object), allow_pickle=True)
    hostile = pickle.dumps(layers, 2)
    return [
        (".pth", torch_file.getvalue()),
        (".safetensors", save(state)),
        (".npy", numpy_file.getvalue()),
        (".npy", hostile),
    ]


def checkpoint_seeds() -> Seeds:
    """A small network as train.py saves it."""
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((32, 32)), width=1 / 32, head={"channels": 4})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    about = {"epoch": 0, "batch": 0, "validated": True, "written": {}, "images": None}
    buffer = io.BytesIO()
    torch.save(
        {
            "camexp": checkpoint_metadata(model, {"seed": 0}),
            "camexp_resume": about,
            "state_dict": state,
            "global_step": 3,
        },
        buffer,
    )
    return [(".ckpt", buffer.getvalue())]


def box_seeds() -> Seeds:
    """One box in every format."""
    matlab = io.BytesIO()
    savemat(matlab, {"box_coord": np.array([[4, 30, 3, 20]])})
    voc = (
        "<annotation><filename>a.png</filename><object><bndbox><xmin>4</xmin><ymin>5</ymin><xmax>21</xmax>"
        "<ymax>31</ymax></bndbox></object></annotation>"
    )
    coco = {"images": [{"id": 7, "file_name": "a.png"}], "annotations": [{"image_id": 7, "bbox": [3, 4, 18, 27]}]}
    return [
        (".csv", b"image,x0,y0,x1,y1\na/a.png,3,4,20,30\n"),
        (".json", json.dumps(coco).encode()),
        ("/a.xml", voc.encode()),
        ("/annotation_0001.mat", matlab.getvalue()),
        ("/localization.txt", b"a/a.png,3,4,20,30\n"),
    ]


def map_seeds() -> Seeds:
    """One map, or mask, in every format."""
    cam = np.random.default_rng(0).random((7, 9)).astype(np.float32)
    seeds: Seeds = []
    for ending, write in (
        (".npy", lambda f: np.save(f, cam)),
        (".npz", lambda f: np.savez_compressed(f, cam=cam)),
        (".mat", lambda f: savemat(f, {"maps": cam}, do_compression=True)),
        (".png", lambda f: Image.fromarray((cam * 255).astype(np.uint8)).save(f, "PNG")),
    ):
        buffer = io.BytesIO()
        write(buffer)
        seeds.append((ending, buffer.getvalue()))
    return seeds


TRUNK = build_trunk("vgg11", 1 / 32)


def read_checkpoint_file(path: Path) -> None:
    newest_intact(path.parent)
    load(path, "cpu", "32-true")


READERS: dict[str, tuple[Callable[[], Seeds], Callable[[Path], object]]] = {
    "images": (image_seeds, read_image),
    "weights": (weight_seeds, lambda path: load_weights(TRUNK, str(path), "vgg11")),
    "checkpoints": (checkpoint_seeds, read_checkpoint_file),
    "boxes": (box_seeds, lambda path: read_boxes(path if path.suffix in (".csv", ".json") else path.parent)),
    "heatmaps": (map_seeds, read_heatmap),
    "masks": (lambda: [one for one in map_seeds() if one[0] == ".png"], lambda path: _read_mask(path, (9, 7))),
}


def fuzz(name: str, files: int, seconds: float, seed: int, keep: Path) -> Counter[str]:
    """So many mutated files for one reader; what became of them."""
    make, read = READERS[name]
    seeds, dice, outcome = make(), random.Random(f"{name} {seed}"), Counter[str]()
    folder = keep / f"last_{name}"
    with Progress(name, files, "files", say=print) as progress:
        for number in range(files):
            ending, content = dice.choice(seeds)
            mutated = mutate(content, seeds, dice)
            path = Path(folder, str(number % 2), ending.lstrip("/")) if "/" in ending else Path(folder, f"f{ending}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(mutated)
            start = time.monotonic()
            try:
                read(path)
                outcome["read"] += 1
            except (UserError, UnreadableImage) as error:
                outcome["refused"] += 1
                problem = "" if str(error) and "\n" not in str(error) else "no sentence"
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                problem = ""
            if time.monotonic() - start > seconds:
                problem = problem or f"took {time.monotonic() - start:.1f} s"
            if problem:
                outcome["finding"] += 1
                kept = keep / f"{name}_{seed}_{number}{Path(ending).suffix or ending}"
                kept.write_bytes(mutated)
                print(f"finding: {kept}: {problem[:200]}")
            path.unlink()
            progress.advance(1, f"{outcome['finding']} findings")
    return outcome


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="for each reader")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--seconds", type=float, default=5.0, help="what a file may take")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("outputs/fuzz"), help="where findings go")
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    logging.getLogger("camexp").setLevel(logging.ERROR)
    findings = 0
    for name in asked.readers:
        outcome = fuzz(name, asked.files, asked.seconds, asked.seed, asked.keep)
        findings += outcome["finding"]
        told = ", ".join(f"{outcome[what]} {what}" for what in ("read", "refused", "finding"))
        print(f"{name}: {asked.files} files: {told}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
