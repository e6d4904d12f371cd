"""Reports in a browser: size, first paint, a class switch; and what writing one costs a prediction.

    python benchmarks/viewer.py --images photos                       # 1,000 images, top 5 of 257 classes
    python benchmarks/viewer.py --images photos --count 10000         # a folder of data beside the page
    python benchmarks/viewer.py --images photos --ckpt RUN/checkpoints/best.ckpt      # predict.py with and without

The photographs are real ones, again and again where there are fewer; maps are random numbers of a network's size. The
browser is the system's Chromium, the page is opened from the disk.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright
from scipy import ndimage

from camexp.data.imagefolder import walk
from camexp.images import read_image
from camexp.viewer import ImageReport, item, meta, page_photograph

CLASSES, SIDE = 257, 14
ROOT = Path(__file__).resolve().parents[1]


def resident() -> float:
    """MB of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def write(folder: Path, paths: list[Path], count: int, kept: int) -> list[float]:
    """A report of ``count`` images with ``kept`` maps each; returns the memory after each tenth of it."""
    rng, memory = np.random.default_rng(0), []
    page = {"subtitle": f"{count} images", "facts": [], "meta": meta([f"class {i}" for i in range(CLASSES)], True)}
    with ImageReport(folder / "report.html", count, "Benchmark", page) as report:
        for number in range(count):
            path = paths[number % len(paths)]
            image = read_image(path)
            maps = ndimage.gaussian_filter(rng.normal(size=(kept, SIDE, SIDE)), (0, 2, 2)).astype(np.float32) * 40
            logits = rng.normal(size=CLASSES).astype(np.float32)
            labels = np.argsort(-logits)[:kept]
            photo = page_photograph(image, count)
            report.add(number, item(path.name, str(path), (image.height, image.width), photo, logits, maps, labels))
            if (number + 1) % max(1, count // 10) == 0:
                memory.append(resident())
    return memory


PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
TILES = "() => { const done = document.querySelectorAll('.tile').length; return done ? performance.now() : null }"
SWITCH = """async () => {
    const viewer = camexp.gallery.viewer, {held} = viewer.ready, times = [];
    const frame = () => new Promise(requestAnimationFrame);
    for (let i = 0; i < 40; i++) {
        const begin = performance.now();
        viewer.choose(held[i % held.length]);
        times.push(performance.now() - begin);
        await frame();
    }
    return times.sort((a, b) => a - b);
}"""


def look(path: Path) -> None:
    """Open it three times and print the median."""
    paints, tiles = [], []
    with sync_playwright() as playwright:
        executable = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(path.absolute().as_uri())
            tiles.append(page.wait_for_function(TILES).json_value())
            paints.append(page.wait_for_function(PAINT).json_value())
        print(f"first paint          {sorted(paints)[1]:.0f} ms (tiles in the page after {sorted(tiles)[1]:.0f} ms)")
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(path.absolute().as_uri() + "#image=3")
        page.wait_for_function("() => camexp.gallery.viewer.stages[0].found")
        times = page.evaluate(SWITCH)
        print(f"a class switch       {times[len(times) // 2]:.1f} ms (the slowest of {len(times)}: {times[-1]:.1f})")
        heap = page.evaluate("() => performance.memory.usedJSHeapSize / 1e6")
        print(f"memory of scripts    {heap:.0f} MB")


def predict(ckpt: Path, images: Path, report: bool) -> float:
    """Seconds of predict.py as a process."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "predict.py"), f"ckpt={ckpt}", f"input={images}"]
        begin = time.perf_counter()
        subprocess.run([*command, f"output={folder}/out", f"report={report}"], check=True, capture_output=True)
        return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--maps", type=int, default=5, help="of each image")
    parser.add_argument("--ckpt", type=Path, help="measure predict.py with and without the report instead")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.ckpt:
        both = (False, True)
        pairs = [[predict(arguments.ckpt, arguments.images, on) for on in both] for _ in range(arguments.repeats)]
        off, on = (sorted(times)[len(times) // 2] for times in zip(*pairs, strict=True))
        print(f"predict.py           {off:.1f} s without, {on:.1f} s with the report: {on / off:.3f}")
        return
    paths = sorted(path for path in walk(arguments.images) if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.perf_counter()
        memory = write(folder, paths, arguments.count, arguments.maps)
        seconds = time.perf_counter() - begin
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        files = sum(path.is_file() for path in folder.rglob("*"))
        count, each = arguments.count, 1000 * seconds / arguments.count
        print(f"{count} images, {arguments.maps} maps each of {CLASSES} classes: {size / 1e6:.1f} MB in {files} files")
        print(f"written in           {seconds:.1f} s, {each:.1f} ms an image with its decoding")
        print(f"memory, by tenths    {' '.join(f'{value:.0f}' for value in memory)} MB")
        look(folder / "report.html")


if __name__ == "__main__":
    main()
