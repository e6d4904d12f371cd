"""Time to the first map: predict.py of one image and train.py to its first step, beside ``import torch`` alone.

``python benchmarks/startup.py``: whole processes, in turn. A small network is trained for a step first, on pictures
that are drawn for it; ``--ckpt FILE --image FILE`` takes others.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from timing import arguments, machine, publish

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"predict.py": 2.0, "train.py": 3.0}


class Cost(NamedTuple):
    """What a process took.

    Attributes:
        wall: seconds until it ended, or until what was waited for.
        cpu: seconds that all its threads and its children computed, in user mode and in the system.
    """

    wall: float
    cpu: float


def cost(command: Sequence[str], work: Path, until: Callable[[], bool] | None = None) -> Cost:
    """Run a process to its end; or kill it as soon as something has happened."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL, start_new_session=True)
    while until is not None and not until():
        if process.poll() is not None:
            sys.exit(f"{' '.join(command)} ended before its first step")
        time.sleep(0.002)
    if until is not None:
        wall = time.perf_counter() - start
        os.killpg(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    if until is None:
        wall = time.perf_counter() - start
        if status:
            sys.exit(f"{' '.join(command)} failed")
    return Cost(wall, used.ru_utime + used.ru_stime)


def train(folder: str, device: str, *options: str) -> list[str]:
    """train.py's own defaults, on few pictures."""
    gpus = "trainer.gpus=0" if device == "cpu" else "trainer.gpus=1"
    few = ("dataset.per_class=8", "trainer.max_steps=1", "trainer.log_every_n_steps=1")
    return [sys.executable, str(ROOT / "train.py"), *few, gpus, f"hydra.run.dir={folder}", *options]


def predict(checkpoint: Path, image: Path, device: str) -> list[str]:
    gpus = "gpus=0" if device == "cpu" else "gpus=1"
    return [sys.executable, str(ROOT / "predict.py"), f"ckpt={checkpoint}", f"input={image}", gpus]


def first_row(table: Path) -> Callable[[], bool]:
    """Whether a table has a row below its header: metrics.csv gets it when a step is done."""
    return lambda: table.exists() and table.read_text().count("\n") > 1


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--ckpt", type=Path, help="instead of a small network trained for a step")
    parser.add_argument("--image", type=Path, help="instead of a drawn picture")
    asked = parser.parse_args()
    costs: dict[str, list[Cost]] = {"import torch": [], **{name: [] for name in TARGETS}}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        subprocess.run(train("first", asked.device), cwd=work, check=True, stdout=subprocess.DEVNULL)
        checkpoint = asked.ckpt or work / "first" / "checkpoints" / "best.ckpt"
        image = asked.image or next((work / "outputs" / "data").rglob("*.jpg"))
        for turn in range(asked.repeats + 1):  # the first is for warming up
            taken = {
                "import torch": cost([sys.executable, "-c", "import torch"], work),
                "predict.py": cost(predict(checkpoint.resolve(), image.resolve(), asked.device), work),
                "train.py": cost(train(f"run{turn}", asked.device), work, first_row(work / f"run{turn}/metrics.csv")),
            }
            for way, one in taken.items():
                costs[way] += [one] if turn else []
    medians = {way: Cost(*map(statistics.median, zip(*each, strict=True))) for way, each in costs.items()}
    alone = medians["import torch"]
    print(f"medians of {asked.repeats}, in turn          wall s   of import torch    CPU s   of import torch")
    for way, (wall, cpu) in medians.items():
        target = f"   (target: {TARGETS[way]:.0f})" if way in TARGETS else ""
        print(f"{way:<32}{wall:>8.2f}{wall / alone.wall:>18.2f}{cpu:>9.2f}{cpu / alone.cpu:>18.2f}{target}")
    publish(
        {
            "benchmark": "startup",
            **machine(asked.device, "torchvision", "pytorch-lightning", "hydra-core"),
            "repeats": asked.repeats,
            "seconds": {way: [one._asdict() for one in each] for way, each in costs.items()},
            "ratio": {way: {"wall": one.wall / alone.wall, "cpu": one.cpu / alone.cpu} for way, one in medians.items()},
        },
        asked.json,
    )


if __name__ == "__main__":
    main()
