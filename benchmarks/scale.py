"""What 1.3 million images cost before any of them is decoded: start-up, memory, bookkeeping of a step, files kept.

``python benchmarks/scale.py``: the real train.py on class folders of files of a few bytes and a stored feature for
each, beside the same run on two thousand of them. Only the decoder is a stub, which gives every file the same picture.
The files are made first, in ``--folder`` (11 GB of small files, kept for the next time) or in a temporary one.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from timing import arguments, machine, publish

ROOT = Path(__file__).resolve().parents[1]
CLASSES, SMALL, STEPS = 1000, 2000, 200
OPTIONS = (
    "dataset=imagefolder", "split.val_fraction=0.001", "model=vgg11", "model.width=0.0625", "model.freeze=trunk",
    "model.head.channels=8", "transform.size=32", "batch_size=32", "num_workers=2", "trainer.gpus=0",
    "precision=32-true", "inspect.every_n_steps=0", f"trainer.max_steps={STEPS}", "logger=csv",
)  # fmt: skip


def make_images(folder: Path, count: int) -> Path:
    """Class folders of so many files in all, each of a few bytes of its own."""
    root = folder / f"images-{count}"
    if not (root / "done").exists():
        for label in range(CLASSES):
            (root / f"{label:04d}").mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / f"{number % CLASSES:04d}" / f"{number:07d}.png").write_bytes(b"%d" % number)
            report("files made", number + 1, count)
        (root / "done").touch()
    return root


def fill(store_folder: Path, root: Path, count: int) -> None:
    """A feature for each file, as the run would have stored it."""
    from camexp.features import FeatureStore
    from camexp.features.digests import digests_of

    store, digests = FeatureStore(store_folder), digests_of(root)
    one = torch.zeros(2, 2, 32, dtype=torch.float16)
    sizes = []
    for number in range(count):
        path = root / f"{number % CLASSES:04d}" / f"{number:07d}.png"
        name = digests.of(path)
        if not store.path(name).exists():
            sizes.append(store.write(name, one))
        report("features stored", number + 1, count)
    digests.save()
    store.record_written(len(sizes), sum(sizes))


def report(what: str, done: int, count: int) -> None:
    if done % 100_000 == 0 or done == count > SMALL:
        print(f"{what}: {done} of {count}", flush=True)


class Probe(pl.Callback):
    """Writes down what this process and its workers hold after the last step, and what a step takes.

    Args:
        path: of the JSON file.
    """

    def __init__(self, path: str):
        self.path = path
        self.times: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self.times.append(time.perf_counter())
        if len(self.times) == 1:
            self.started = time.time()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        children = [
            pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
        ]
        found = {
            "started": self.started,
            "step": sorted(b - a for a, b in zip(self.times, self.times[1:], strict=False))[len(self.times) // 2],
            "batch": batch_seconds(trainer.datamodule),  # type: ignore[attr-defined]
            "memory": [memory("self"), *map(memory, children)],
        }
        Path(self.path).write_text(json.dumps(found))


def memory(pid: str) -> float:
    """What a process holds, its share of what others hold too, in 10⁶ bytes."""
    rollup = Path("/proc", pid, "smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)) * 1024 / 1e6


def batch_seconds(datamodule: Any, batches: int = 200) -> float:
    """Drawing, finding and joining a batch in one process, without decoding and without the disk's part: the median."""
    data = datamodule.train_set
    one = torch.zeros(2, 2, 32, dtype=torch.float16)
    data.store.read = lambda name: one
    datamodule.num_workers = 0
    ahead = iter(datamodule.train_dataloader())
    seconds = []
    for _ in range(min(batches, datamodule.steps_per_epoch)):
        start = time.perf_counter()
        next(ahead)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[len(seconds) // 2]


def train_with_stub() -> None:
    """train.py in this process, every file the same picture."""
    import camexp.training  # whatever reads images
    from camexp.images import read_image, read_pixels

    picture = Image.new("RGB", (32, 32))
    pixels = np.asarray(picture)

    def stub(path: Path) -> Image.Image:
        Path(path).read_bytes()
        return picture

    def stub_pixels(path: Path) -> NDArray[np.uint8]:
        Path(path).read_bytes()
        return pixels

    assert camexp.training
    for module in [*sys.modules.values()]:
        if getattr(module, "read_image", None) is read_image:
            module.read_image = stub  # type: ignore[attr-defined]
        if getattr(module, "read_pixels", None) is read_pixels:
            module.read_pixels = stub_pixels  # type: ignore[attr-defined]
    sys.argv[0] = str(ROOT / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")


def run(root: Path, work: Path, name: str) -> dict[str, Any]:
    """A training run of some steps; what its probe found, and how long its start took."""
    probe = work / f"{name}.json"
    begun = time.time()
    subprocess.run(
        [sys.executable, "-c", "import scale; scale.train_with_stub()", *OPTIONS, f"dataset.root={root}",
         f"features.cache={work / 'features'}", f"model.weights={work / 'weights.safetensors'}",
         f"hydra.run.dir={work / name}", f"+callbacks.probe={{_target_:scale.Probe,path:{probe}}}"],
        check=True, cwd=work, stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'benchmarks'}:{ROOT}", "XDG_CACHE_HOME": str(work / "cache")},
    )  # fmt: skip
    found: dict[str, Any] = json.loads(probe.read_text())
    return {**found, "start": found["started"] - begun}


def kept(work: Path, name: str) -> float:
    """What a run and the cache of the user keep, without features, in 10⁶ bytes."""
    files = [path for folder in (work / name, work / "cache") for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1_300_000)
    parser.add_argument("--folder", type=Path, help="where the files are made, and kept")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (asked.folder or Path(temporary)).absolute()
        found = {}
        for count in (SMALL, asked.images):
            work = Path(tempfile.mkdtemp(dir=folder, prefix=f"run-{count}-"))
            os.environ["XDG_CACHE_HOME"] = str(work / "cache")
            root = make_images(folder, count)
            weights(work / "weights.safetensors")
            first = run(root, work, "first")
            fill(next(path.parent for path in (work / "features").glob("*/about.json")), root, count)
            found[count] = {"first start": first["start"], **run(root, work, "second"), "kept": kept(work, "second")}
    print_table(found[SMALL], found[asked.images], asked.images)
    publish({"benchmark": "scale", **machine(asked.device), "images": asked.images, "found": found}, asked.json)


def weights(path: Path) -> None:
    from safetensors.torch import save_file

    from camexp.models.trunks import build_trunk

    torch.manual_seed(0)
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), path)


def print_table(small: dict[str, Any], large: dict[str, Any], count: int) -> None:
    rows = [
        ("first start, all files checked", "s", small["first start"], large["first start"], None),
        ("start after that", "s", small["start"], large["start"], None),
        ("memory: training process", "MB", small["memory"][0], large["memory"][0], small["memory"][0] + 300),
        ("memory: largest decoding process", "MB", max(small["memory"][1:]), max(large["memory"][1:]),
         max(small["memory"][1:]) + 300),
        ("a batch of 32, undecoded, in one process", "ms", 1e3 * small["batch"], 1e3 * large["batch"], 1.0),
        ("a step", "ms", 1e3 * small["step"], 1e3 * large["step"], None),
        ("kept beside the features", "MB", small["kept"], large["kept"], None),
    ]  # fmt: skip
    print(f"{'images':<42}{SMALL:>12}{count:>12}")
    for name, unit, one, other, most in rows:
        print(f"{name:<42}{one:>9.2f} {unit:<2}{other:>9.2f} {unit:<2}" + (f"  (at most {most:.1f})" if most else ""))


if __name__ == "__main__":
    main()
