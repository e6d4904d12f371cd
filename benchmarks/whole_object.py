"""Boxes of objects of all sizes: CAM beside the maps that follow the whole object, on photographs as they are, shrunk
onto their own blur, and cut out closely.

``python benchmarks/whole_object.py --ckpt RUN/checkpoints/best.ckpt --data FOLDER --boxes boxes.csv [--half 0|1]``.
Photographs whose objects fill the picture hide what a map misses: of each two more are made, whose boxes follow from
its own. The thresholds are one for all sizes. ``--half`` takes every second photograph: what is chosen on one is
reported on the other.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from PIL import Image, ImageFilter
from timing import time_in_turn

from camexp import load
from camexp.commands import main as camexp
from camexp.config import CAMOptions
from camexp.data import read_image
from camexp.methods import build_method

Box = tuple[float, float, float, float]
RUNS = {
    "stored features": ["cam=cam,pc1,ddt"],
    "negative weights 0": ["cam.negatives=clamp_weights"],
    "affinity=auto": ["cam=cam,pc1,ddt", "cam.affinity=auto"],
    "negative weights 0, affinity=auto": ["cam.negatives=clamp_weights", "cam.affinity=auto"],
}


def shrunk(photo: Image.Image, box: Box, rng: random.Random) -> tuple[Image.Image, Box]:
    """The photograph at 0.4 to 0.65 of its size, somewhere on its own blur."""
    width, height = photo.size
    scale = rng.uniform(0.4, 0.65)
    w, h = round(width * scale), round(height * scale)
    left, top, edge = rng.randint(0, width - w), rng.randint(0, height - h), max(2, w // 20)
    fade = Image.new("L", (w, h), 0)
    fade.paste(255, (edge, edge, w - edge, h - edge))
    canvas = photo.filter(ImageFilter.GaussianBlur(max(width, height) / 8))
    small = photo.resize((w, h), Image.Resampling.BICUBIC)
    canvas.paste(small, (left, top), fade.filter(ImageFilter.GaussianBlur(edge / 2)))
    x, y = w / width, h / height
    return canvas, (left + box[0] * x, top + box[1] * y, left + box[2] * x, top + box[3] * y)


def cut_out(photo: Image.Image, box: Box, rng: random.Random) -> tuple[Image.Image, Box]:
    """0.65 to 0.85 of the photograph's sides around the object, which may lose a part."""
    width, height = photo.size
    scale = rng.uniform(0.65, 0.85)
    w, h = round(width * scale), round(height * scale)

    def begin(low: float, high: float, part: int, whole: int) -> int:
        return int(min(max(0, (low + high - part) / 2 + rng.uniform(-0.1, 0.1) * whole), whole - part))

    left, top = begin(box[0], box[2], w, width), begin(box[1], box[3], h, height)
    inside = max(0, box[0] - left), max(0, box[1] - top), min(w - 1, box[2] - left), min(h - 1, box[3] - top)
    return photo.crop((left, top, left + w, top + h)), inside


def views(data: Path, boxes: Path, half: int | None) -> Iterator[tuple[str, Image.Image, Box]]:
    """Path, picture and box of every photograph and of its two copies."""
    rng = random.Random(0)
    with boxes.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        photo, path = read_image(data / row["image"]), Path(row["image"])
        box: Box = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
        made = {"plain": (photo, box), "shrunk": shrunk(photo, box, rng), "cut": cut_out(photo, box, rng)}
        if half is None or number % 2 == half:
            yield from ((f"{path.with_suffix('')}_{kind}.png", *one) for kind, one in made.items())


def passes(ckpt: str, repeats: int = 5) -> None:
    """What each map costs beside CAM's one forward pass: 16 images of 224×224, in turn."""
    model = load(ckpt, "cpu")
    images = torch.randn(16, 3, 224, 224)
    methods = {
        "cam": {}, "pc1": {"method": "pc1"}, "cam, affinity": {"affinity": "auto"},
        "pc1, affinity": {"method": "pc1", "affinity": "auto"},
    }  # fmt: skip
    built = {name: build_method(CAMOptions(**one)) for name, one in methods.items()}
    seconds = time_in_turn(
        {name: partial(method, model, images, "predicted") for name, method in built.items()}, repeats, "cpu"
    )
    for name, one in seconds.items():
        print(f"{name:15} {1000 * one / 16:6.1f} ms an image, {one / seconds['cam']:.2f} of cam's")


def arguments(description: str | None) -> argparse.Namespace:
    """The checkpoint, and which photographs."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--data", type=Path, required=True, help="a folder a class")
    parser.add_argument("--boxes", type=Path, required=True, help="image,x0,y0,x1,y1: one box an image")
    parser.add_argument("--half", type=int, choices=(0, 1))
    return parser.parse_args()


def main() -> None:
    asked = arguments(__doc__)
    passes(asked.ckpt)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = {kind: folder / f"{kind}.csv" for kind in ("plain", "all sizes")}
        rows = {kind: ["image,x0,y0,x1,y1\n"] for kind in truth}
        for path, picture, box in views(asked.data, asked.boxes, asked.half):
            (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            picture.save(folder / "images" / path)
            for kind in truth if path.endswith("_plain.png") else ["all sizes"]:
                rows[kind].append(f"{path},{','.join(f'{side:.2f}' for side in box)}\n")
        for kind, path in truth.items():
            path.write_text("".join(rows[kind]))
        table = []
        for title, options in RUNS.items():
            for kind, path in truth.items():
                out = folder / f"{title} {kind}"
                camexp([
                    "evaluate", f"ckpt={asked.ckpt}", "dataset=imagefolder", f"dataset.root={folder / 'images'}",
                    "part=all", f"boxes={path}", f"output={out}", f"features.cache={folder / 'features'}",
                    "report=false", "sheet.images=0", *options,
                ])  # fmt: skip
                for method, one in json.loads((out / "metrics.json").read_text())["methods"].items():
                    table.append((method, title, kind, one))
    print(f"\n{'map':45} {'photographs':12} MaxBoxAccV2  MaxBoxAcc")
    for method, title, kind, one in table:
        print(f"{method + ', ' + title:45} {kind:12} {100 * one['MaxBoxAccV2']:11.1f} {100 * one['MaxBoxAcc']:10.1f}")


if __name__ == "__main__":
    main()
