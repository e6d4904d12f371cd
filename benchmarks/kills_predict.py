"""Kill a prediction again and again, at random moments, and compare its files with those of one that was left alone.

``python benchmarks/kills_predict.py --kills 20``: SIGKILL at moments drawn anew, then ``resume=auto``; at the
end every file a user would look at is the same to the byte.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_images import ROOT, make_images, make_network

BESIDES = {".in_use", "state.json", "manifest.json"}


def start(work: Path, output: str, more: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "predict.py"), "ckpt=tiny.ckpt", "input=images", f"output={output}", "gpus=0",
               "annotations=[coco,yolo,voc,masks]", "threshold.value=0.3", "resume=auto", *more]  # fmt: skip
    return subprocess.Popen(
        command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in BESIDES and path.suffix != ".log" and ".hydra" not in path.parts
    }


def count_rows(folder: Path) -> int:
    path = folder / "predictions.csv"
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("options", nargs="*", help="more options of predict.py")
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_images(work / "images", asked.images)
        make_network(work / "tiny.ckpt")
        began = time.perf_counter()
        if start(work, "quiet", asked.options).wait():
            sys.exit("the undisturbed prediction failed")
        longest = time.perf_counter() - began
        killed = rows = 0
        while killed < asked.kills:
            process = start(work, "killed", asked.options)
            amid = dice.random() < 0.8  # else it is killed while it begins
            while amid and count_rows(work / "killed") <= rows and process.poll() is None:
                time.sleep(0.05)
            time.sleep(dice.uniform(0, 2 * longest / asked.kills))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                killed += 1
            elif process.returncode:
                sys.exit("a resumed prediction failed")
            process.wait()
            rows = count_rows(work / "killed")
            print(f"kill {killed}: {rows} rows", flush=True)
            if process.returncode == 0:
                break
        if start(work, "killed", asked.options).wait():
            sys.exit("the last resumed prediction failed")
        one, other = files(work / "quiet"), files(work / "killed")
        different = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
        print(f"{killed} kills, {len(one)} files, {len(different)} of them different {different[:5]}")
        sys.exit(bool(different))


if __name__ == "__main__":
    main()
