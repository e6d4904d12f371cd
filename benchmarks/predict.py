"""A folder of photographs: predict end to end beside its forward passes alone, and memory over time.

``python benchmarks/predict.py --data FOLDER`` (any photographs; they are used again until there are enough)
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from cam import build
from hydra import compose, initialize_config_dir
from timing import arguments, machine, publish

from camexp import prediction
from camexp.config import PredictOptions
from camexp.data import read_image
from camexp.images import image_extensions
from camexp.models import CAMClassifier, Preprocessing

CONF = str(Path(__file__).resolve().parents[1] / "conf")


def folder_of(photographs: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """So many links to photographs under names of their own."""
    folder.mkdir()
    links = []
    for number, source in zip(range(count), itertools.cycle(photographs), strict=False):
        link = folder / f"{number:05d}{source.suffix}"
        link.symlink_to(source.resolve())
        links.append(link)
    return links


def read_options(output: Path) -> PredictOptions:
    """predict.py's own defaults."""
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("predict", ["ckpt=none", "input=none", f"output={output}", "resize=trained"])
    return prediction.read_options(config)


def forward_alone(model: CAMClassifier, paths: Sequence[Path], batch_size: int) -> float:
    """The seconds of the forward passes with their maps, of images that are tensors already."""
    batch = torch.stack([model.preprocess(read_image(path)) for path in paths[:batch_size]])
    model.explain(batch)
    start = time.perf_counter()
    for first in range(0, len(paths), batch_size):
        model.explain(batch[: len(paths) - first]).logits.cpu()
    return time.perf_counter() - start


def resident() -> float:
    """Megabytes of this process and its children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    total = 0
    for process in ("self", *children):
        try:
            lines = Path(f"/proc/{process}/status").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


def memory(
    model: CAMClassifier, paths: Sequence[Path], options: PredictOptions, marks: Sequence[int]
) -> dict[int, float]:
    """Resident megabytes when so many overlays were written."""
    found: dict[int, float] = {}
    done = threading.Event()

    def watch() -> None:
        folder = Path(options.output, "overlays")
        while not done.wait(0.05):
            count = len(os.listdir(folder)) if folder.exists() else 0
            for mark in marks:
                if mark not in found and count >= mark:
                    found[mark] = resident()

    watcher = threading.Thread(target=watch)
    watcher.start()
    prediction.predict(model, prediction.unlabelled(paths), options)
    time.sleep(0.2)
    done.set()
    watcher.join()
    return found


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--many", type=int, default=2000, help="images for the measurement of memory (small network)")
    asked = parser.parse_args()
    photographs = sorted(p for p in asked.data.rglob("*") if p.suffix.lower() in image_extensions())
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        paths = folder_of(photographs, asked.images, place / "images")
        options = read_options(place / "out")
        model = build(257, asked.device, "auto")
        alone, ends = [], []
        for turn in range(2):
            alone.append(forward_alone(model, paths, options.batch_size))
            start = time.perf_counter()
            output = options.model_copy(update={"output": str(place / f"out{turn}")})
            prediction.predict(model, prediction.unlabelled(paths), output)
            ends.append(time.perf_counter() - start)

        small = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8}).eval()
        many = folder_of(photographs, asked.many, place / "many")
        marks = sorted({asked.many // 10, asked.many // 2, asked.many})
        used = memory(small.to(asked.device), many, options.model_copy(update={"output": str(place / "memory")}), marks)
    ratio = min(ends) / min(alone)
    print(f"{asked.images} images, best of two: forward passes alone {min(alone):.1f} s, end to end {min(ends):.1f} s")
    print(f"end to end / forward passes: {ratio:.3f} (target 1.1)")
    print("resident MB after", {mark: round(value) for mark, value in used.items()}, "images (target: +100 at most)")
    publish(
        {
            "benchmark": "predict",
            **machine(asked.device, "torchvision", "pillow"),
            "precision": model.precision,
            "images": asked.images,
            "forward_seconds": alone,
            "end_to_end_seconds": ends,
            "ratio": ratio,
            "resident_mb": used,
        },
        asked.json,
    )


if __name__ == "__main__":
    main()
