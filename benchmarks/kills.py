"""Kill a run again and again, at random moments, and see whether it ends as if nothing had been.

``python benchmarks/kills.py --kills 20 [train.py's options …]``: one run undisturbed, one killed with SIGKILL and taken
up again with ``resume=auto`` as often as asked, then weights, optimizer states and tables are compared bit by bit.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TINY = (
    "dataset.per_class=60", "dataset.size=64", "transform.size=64", "model=vgg11", "model.width=0.125", "batch_size=16",
    "model.freeze=none", "model.weights=null", "transform=augment", "checkpoint.every_n_steps=20", "trainer.gpus=0",
)  # fmt: skip


def train(folder: str, work: Path, options: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), *TINY, *options, f"hydra.run.dir={folder}", "resume=auto"]
    return subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True, start_new_session=True)


def run(folder: str, work: Path, options: list[str]) -> None:
    process = train(folder, work, options)
    process.communicate()
    if process.returncode:
        sys.exit(f"the run in {work / folder} failed")


def kill_once(work: Path, options: list[str], longest: float, dice: random.Random) -> bool:
    """Start the run, kill it at a random moment of its training; returns whether it was still running."""
    process = train("killed", work, options)
    assert process.stdout is not None
    for line in process.stdout:
        if "run folder" in line:  # what comes before takes seconds, and has nothing to lose
            break
    time.sleep(dice.uniform(0, longest))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in two run folders."""
    found = []
    for name in ("last", "best"):
        a, b = (torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True) for f in (one, other))
        found += [
            f"{name}: {key}" for key in a["state_dict"] if not torch.equal(a["state_dict"][key], b["state_dict"][key])
        ]
        for number, state in a["optimizer_states"][0]["state"].items():
            theirs = b["optimizer_states"][0]["state"][number]
            found += [f"{name}: optimizer {key}" for key in state if not torch.equal(state[key], theirs[key])]
    for table in ("metrics.csv", "cams/steps.csv"):
        rows = []
        for folder in (one, other):
            with (folder / table).open(newline="") as file:
                rows.append([{**row, "images_per_second": ""} for row in csv.DictReader(file)])
        found += [] if rows[0] == rows[1] else [table]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds of training before a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    asked, options = parser.parse_known_args()
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run("whole", work, options)
        kills = 0
        while kills < asked.kills and kill_once(work, options, asked.longest, dice):
            kills += 1
            saved = sorted(path.stem for path in (work / "killed" / "checkpoints").glob("step_*.ckpt"))
            print(f"kill {kills}: {saved[-1] if saved else 'no checkpoint yet'}", flush=True)
        run("killed", work, options)
        found = differences(work / "whole", work / "killed")
    print(f"{kills} kills: {'bit for bit the same' if not found else 'different: ' + ', '.join(found[:5])}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
