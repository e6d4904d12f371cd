"""Predict many small images with a tiny network, so that the bookkeeping shows: undivided, and in shards.

``python benchmarks/many_images.py --images 100000``: images a second, memory of every process over time, files written
and seconds to gather, with 1, 2 and 4 shards at once on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from PIL import Image
from timing import arguments, machine, publish

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32


def make_images(folder: Path, count: int) -> Path:
    """Small JPEGs, a thousand a folder."""
    pixels = np.random.default_rng(0).integers(0, 255, (100, SIDE, SIDE, 3), np.uint8)
    for number in range(count):
        path = folder / f"{number // 1000:04d}" / f"{number:07d}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[number % 100]).save(path)
    return folder


def make_network(path: Path) -> Path:
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((SIDE, SIDE)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, path)
    return path


def watched(command: list[str]) -> tuple[float, dict[int, list[float]], str]:
    """Seconds, MB of each process that it had at each second, and what it said."""
    start = time.perf_counter()
    resident: dict[int, list[float]] = {}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            for one in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
                try:
                    resident.setdefault(one.pid, []).append(one.memory_info().rss / 1e6)
                except psutil.Error:
                    continue
            time.sleep(1)
        said.seek(0)
        told = said.read()
    if process.returncode:
        sys.exit(told)
    return time.perf_counter() - start, resident, told


def growth(resident: dict[int, list[float]]) -> float:
    """MB by which the process that grew most did so between the first fifth of its time and its end."""
    long = [marks for marks in resident.values() if len(marks) >= 20]
    return max((marks[-2] - marks[len(marks) // 5] for marks in long), default=float("nan"))


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--shards", default="1,2,4")
    parser.add_argument("--folder", type=Path, help="where images are made, and kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        images, network = make_images(asked.folder or work / "images", asked.images), make_network(work / "tiny.ckpt")
        rates: dict[str, Any] = {}
        for shards in map(int, asked.shards.split(",")):
            output = work / f"in{shards}"
            seconds, resident, _ = watched(
                [sys.executable, str(ROOT / "predict.py"), f"ckpt={network}", f"input={images}", f"output={output}",
                 f"shards={shards}", "format=parquet", "report=false", "montage.images=0", "batch_size=64", "gpus=0"]
            )  # fmt: skip
            start = time.perf_counter()
            if shards > 1:
                subprocess.run([sys.executable, "-m", "camexp.gather", str(output)], check=True, cwd=ROOT,
                               stdout=subprocess.DEVNULL)  # fmt: skip
            gather = time.perf_counter() - start
            files = sum(1 for path in output.rglob("*") if path.is_file())
            rates[str(shards)] = asked.images / seconds
            share = rates[str(shards)] / rates[next(iter(rates))]
            print(
                f"{shards} shards: {asked.images / seconds:.0f} images/s with start-up ({share:.2f} of the first), "
                f"largest process {max(map(max, resident.values())):.0f} MB, grown by {growth(resident):.0f} MB, "
                f"{files} files, gathered in {gather:.1f} s", flush=True,
            )  # fmt: skip
        publish(
            {"benchmark": "many_images", **machine("cpu", "pyarrow"), "images": asked.images, "rates": rates},
            asked.json,
        )


if __name__ == "__main__":
    main()
