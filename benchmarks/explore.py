"""explore.py from an image to its maps, beside the forward pass alone; and 200 images at once.

``python benchmarks/explore.py --data FOLDER`` (any photographs; they are used again until there are enough)
"""

from __future__ import annotations

import http.client
import io
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import arguments, machine, publish, time_in_turn

import camexp
from camexp.images import image_extensions
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata

ROOT = Path(__file__).resolve().parents[1]
REST = 0.4  # seconds


def post(port: int, photograph: bytes) -> int:
    """Bytes of the answer, maps of all classes; 0 where there was none."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        connection.request("POST", "/explain", photograph, {"content-type": "application/octet-stream"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
    except OSError:
        return 0
    return len(body) if answer.status == 200 and json.loads(body)["items"] else 0


def resident(process: int, key: str = "VmRSS") -> float:
    """Megabytes of a process; ``VmHWM``: the most it ever had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def rested(way: Callable[[], object]) -> None:
    """After a rest: OpenMP's threads of the other process go on looking for work for a fifth of a second."""
    time.sleep(REST)
    way()


def at_once(port: int, photographs: list[bytes]) -> tuple[list[float], int]:
    """The seconds that each took when all were sent together, and how many got no answer."""
    begin, seconds, lost = threading.Barrier(len(photographs)), [0.0] * len(photographs), [0] * len(photographs)

    def send(number: int) -> None:
        begin.wait()
        start = time.perf_counter()
        lost[number] = not post(port, photographs[number])
        seconds[number] = time.perf_counter() - start

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(photographs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, sum(lost)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--trunk", default="vgg16")
    parser.add_argument("--classes", type=int, default=257)
    parser.add_argument("--repeats", type=int, default=15, help="images, one after another")
    parser.add_argument("--together", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2, help="of images sent together")
    given = parser.parse_args()

    files = sorted(path for path in given.data.rglob("*") if path.suffix.lower() in image_extensions())
    chosen = [files[index] for index in np.linspace(0, len(files) - 1, 40).astype(int)]
    photographs = [path.read_bytes() for path in chosen]
    with tempfile.TemporaryDirectory() as folder:
        ckpt = Path(folder, "a.ckpt")
        torch.manual_seed(0)
        names, head = [str(number) for number in range(given.classes)], {"channels": 1024, "init_std": 0.02}
        model = CAMClassifier(given.trunk, names, Preprocessing((224, 224)), head=head)
        state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
        torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, ckpt)
        model = camexp.load(ckpt, given.device)
        command = [sys.executable, str(ROOT / "explore.py"), f"ckpt={ckpt}", "port=0"]
        command += ["gpus=0"] if given.device == "cpu" else []
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        try:
            assert server.stdout is not None
            told = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)/", line) for line in server.stdout)))
            result = measure(model, int(told[1]), server.pid, photographs, given)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    publish({**result, **machine(given.device, "starlette", "uvicorn"), "cores": os.cpu_count()}, given.json)


def measure(model, port, process, photographs, given):  # type: ignore[no-untyped-def]
    """Both figures of a server that runs."""
    image = model.preprocess(Image.open(io.BytesIO(photographs[0])))[None]
    turns = itertools.cycle(photographs)
    ways = {
        "forward": lambda: model.explain(image, "predicted").logits.cpu(),
        "explore": lambda: post(port, next(turns)),
    }
    seconds = time_in_turn({name: partial(rested, way) for name, way in ways.items()}, given.repeats, given.device)
    seconds = {name: each - REST for name, each in seconds.items()}
    photographs = [next(turns) for _ in range(given.together)]
    before, rounds = resident(process), []
    for _ in range(given.rounds):
        start = time.perf_counter()
        each, lost = at_once(port, photographs)
        rounds.append({
            "lost": lost, "seconds": round(time.perf_counter() - start, 2),
            "p50_s": round(statistics.median(each), 2), "p95_s": round(float(np.percentile(each, 95)), 2),
            "max_s": round(max(each), 2), "rss_mb_after": round(resident(process)),
        })  # fmt: skip
    return {
        "trunk": given.trunk, "classes": given.classes, "images_at_once": given.together,
        "forward_ms": round(1000 * seconds["forward"], 1), "upload_to_json_ms": round(1000 * seconds["explore"], 1),
        "ratio": round(seconds["explore"] / seconds["forward"], 3), "target": 1.15,
        "rss_mb_before": round(before), "rss_mb_highest": round(resident(process, "VmHWM")), "rounds": rounds,
    }  # fmt: skip


if __name__ == "__main__":
    main()
