"""From a JPEG file to the network's input: Pillow, its draft mode, torchvision.io, simplejpeg, PyTurboJPEG; and what
each does to maps and logits.

    python benchmarks/decode.py --data FOLDER                          # rates alone
    python benchmarks/decode.py --data FOLDER --ckpt best.ckpt         # and the effect
    python benchmarks/decode.py --data FOLDER --weights vgg16.safetensors     # the effect with a head from a seed

No photographs of 12 megapixels come with the data sets: ordinary ones are enlarged to 4000×3000 (bicubic) and saved by
Pillow at quality 90. Enlarging leaves high frequencies empty, so one half has noise added, as much in each octave from
1 to 8 pixels: the 1/f spectrum of photographs, continued. Libraries that are not installed are named and left out.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from timing import arguments, machine, publish

from camexp.images import read_image, read_pixels
from camexp.models import CAMClassifier, Preprocessing, load
from camexp.models.weights import load_weights

INPUT = 224
CAMERA = ((4000, 3000), (3264, 2448), (2592, 1944))  # 12, 8 and 5 megapixels
NOISE = 5.0  # grey levels (σ) in each octave
FACTORS = (4, 3, 2, 1)

Pixels = NDArray[np.uint8]
Way = Callable[[Path], Pixels]
PREPROCESSING = Preprocessing((INPUT, INPUT))


@lru_cache
def noise(size: tuple[int, int]) -> NDArray[np.float32]:
    """``(H, W)``: white noise of four octaves, the coarser ones enlarged."""
    rng, total = np.random.default_rng(0), np.zeros(size[::-1], np.float32)
    for pixels in (1, 2, 4, 8):
        octave = Image.fromarray(rng.normal(0, NOISE, (size[1] // pixels, size[0] // pixels)).astype(np.float32))
        total += np.asarray(octave.resize(size, Image.Resampling.BICUBIC))
    return total


def enlarge(photographs: Sequence[Path], folder: Path, sizes: Sequence[tuple[int, int]], noisy: bool) -> list[Path]:
    """A large JPEG of each photograph, the sizes in turn."""
    folder.mkdir()
    written = []
    for number, source in enumerate(photographs):
        size = sizes[number % len(sizes)]
        image = read_image(source).resize(size, Image.Resampling.BICUBIC)
        if noisy:
            shifted = np.roll(noise(size), 7 * number, axis=1)[..., None]
            image = Image.fromarray(np.clip(np.asarray(image) + shifted, 0, 255).astype(np.uint8))
        written.append(folder / f"{number:03d}.jpg")
        image.save(written[-1], quality=90)
    return written


def torch_resize(pixels: Pixels) -> Pixels:
    """``(H, W, 3)`` bytes by torch's vectorised version of Pillow's filter."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    return F.interpolate(image, (INPUT, INPUT), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()


def pillow_resize(image: Image.Image) -> Pixels:
    return np.asarray(image.resize((INPUT, INPUT), Image.Resampling.BILINEAR))


def draft(path: Path, factor: int) -> Pixels:
    """Decoded at 1/8, 1/4 or 1/2 of the size, but to at least so many times the input's."""
    with Image.open(path) as image:
        image.draft(None, (factor * INPUT, factor * INPUT))
        return pillow_resize(image.convert("RGB"))


def library_ways(turbojpeg: str | None) -> dict[str, Way]:
    """Those of other libraries; three times the input's size is a quarter of 12 megapixels."""
    ways: dict[str, Way] = {}
    try:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        ways["torchvision.io, torch's resize"] = lambda path: torch_resize(
            decode_jpeg(read_file(str(path)), ImageReadMode.RGB).permute(1, 2, 0).numpy()
        )
    except (ImportError, RuntimeError) as error:
        print(f"torchvision.io is left out: {error}")
    try:
        import simplejpeg

        side = 3 * INPUT
        ways |= {
            "simplejpeg, Pillow's resize": lambda path: pillow_resize(
                Image.fromarray(simplejpeg.decode_jpeg(path.read_bytes()))
            ),
            "simplejpeg, torch's resize": lambda path: torch_resize(simplejpeg.decode_jpeg(path.read_bytes())),
            "simplejpeg scaled to 3×, torch's resize": lambda path: torch_resize(
                simplejpeg.decode_jpeg(path.read_bytes(), min_height=side, min_width=side, min_factor=1)
            ),
        }
    except ImportError as error:
        print(f"simplejpeg is left out: {error}")
    try:
        from turbojpeg import TJPF_RGB, TurboJPEG

        turbo = TurboJPEG(turbojpeg)

        def scaled(path: Path) -> Pixels:
            data = path.read_bytes()
            width, height, *_ = turbo.decode_header(data)
            part = next((p for p in (8, 4, 2) if min(width, height) >= 3 * INPUT * p), 1)
            return torch_resize(turbo.decode(data, pixel_format=TJPF_RGB, scaling_factor=(1, part)))

        ways["PyTurboJPEG, torch's resize"] = lambda path: torch_resize(turbo.decode(path.read_bytes(), TJPF_RGB))
        ways["PyTurboJPEG scaled to 3×, torch's resize"] = scaled
    except (ImportError, RuntimeError, OSError) as error:
        print(f"PyTurboJPEG is left out: {' '.join(str(error).split())[:100]} (--turbojpeg LIBRARY)")
    return ways


def rates(ways: dict[str, Way], paths: Sequence[Path], repeats: int) -> dict[str, dict[str, float]]:
    """Of each way the CPU time on one thread, and images a second on one and on two; they take turns."""
    measured: dict[str, dict[str, list[float]]] = {name: {"cpu_ms": [], "one": [], "two": []} for name in ways}
    with ThreadPoolExecutor(2) as pool:
        for turn in range(repeats + 1):
            for name, way in ways.items():
                wall, cpu = time.perf_counter(), time.process_time()
                for path in paths:
                    way(path)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                start = time.perf_counter()
                list(pool.map(way, paths))
                together = time.perf_counter() - start
                if turn:  # the first is for warming up
                    measured[name]["cpu_ms"].append(1e3 * cpu / len(paths))
                    measured[name]["one"].append(len(paths) / wall)
                    measured[name]["two"].append(len(paths) / together)
    medians = {name: {key: statistics.median(each) for key, each in one.items()} for name, one in measured.items()}
    first = next(iter(ways))
    exact = np.stack([ways[first](path) for path in paths]).astype(int)
    for name, way in ways.items():
        off = np.abs(np.stack([way(path) for path in paths]) - exact)
        medians[name] |= {"bytes_off": float((off > 0).mean()), "largest_off": int(off.max())}
    return medians


def print_rates(title: str, measured: dict[str, dict[str, float]]) -> None:
    before = next(iter(measured.values()))
    print(f"\n{title}\n{'':42}{'CPU ms':>8}{'images/s':>10}{'2 threads':>10}{'faster':>8}{'bytes that differ':>20}")
    for name, one in measured.items():
        print(
            f"{name:42}{one['cpu_ms']:8.1f}{one['one']:10.1f}{one['two']:10.1f}{before['cpu_ms'] / one['cpu_ms']:8.2f}"
            f"{one['bytes_off']:13.3%} (≤ {one['largest_off']})"
        )


@torch.no_grad()
def explain(model: CAMClassifier, inputs: Sequence[Pixels]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logits ``(B, C)`` and maps of all classes ``(B, C, h, w)``."""
    batch = torch.stack([model.preprocessing.normalise(Image.fromarray(one)) for one in inputs])
    results = [model.explain(part, "all") for part in batch.split(8)]
    return tuple(torch.cat([getattr(one, what) for one in results]).double().numpy() for what in ("logits", "maps"))


def effects(model: CAMClassifier, paths: Sequence[Path]) -> dict[str, dict[str, float]]:
    """The largest difference in a map as a share of its range, of the predicted class and of all, and in logits."""
    full = [pillow_resize(read_image(path)) for path in paths]
    logits, maps = explain(model, full)
    predicted, ranges = logits.argmax(1), np.ptp(maps, axis=(2, 3))
    others = {f"draft to at least {factor}×": [draft(path, factor) for path in paths] for factor in FACTORS}
    others["camexp"] = [np.asarray(PREPROCESSING.resize(read_pixels(path))) for path in paths]
    seen = {name: explain(model, inputs) for name, inputs in others.items()}
    model.optimise_for("cpu", "bf16-mixed")
    seen["full, network in bfloat16"] = explain(model, full)
    model.optimise_for("cpu", "32-true")
    found = {}
    for name, (other_logits, other_maps) in seen.items():
        share = np.abs(other_maps - maps).max((2, 3)) / ranges
        own = share[np.arange(len(paths)), predicted]
        found[name] = {
            "mean": float(own.mean()), "worst": float(own.max()), "within": float((own <= 0.005).mean()),
            "mean_all": float(share.mean()), "worst_all": float(share.max()),
            "logits": float(np.abs(other_logits - logits).max()),
            "other_class": int((other_logits.argmax(1) != predicted).sum()),
        }  # fmt: skip
    return found


def print_effects(title: str, found: dict[str, dict[str, float]]) -> None:
    heads = ("mean", "worst", "within 0.5 %", "mean, all", "worst, all", "logits", "other class")
    print(f"\n{title}\n{'':28}" + "".join(f"{head:>13}" for head in heads))
    for name, one in found.items():
        shares = "".join(f"{one[key]:13.2%}" for key in ("mean", "worst", "within", "mean_all", "worst_all"))
        print(f"{name:28}{shares}{one['logits']:13.3f}{one['other_class']:13}")


def network(ckpt: Path | None, weights: str) -> CAMClassifier:
    """A trained network, or VGG-16 with a head from a seed; in float32, which shows small differences."""
    if ckpt is not None:
        return load(ckpt, "cpu", "32-true")
    torch.manual_seed(0)
    model = CAMClassifier("vgg16", [str(c) for c in range(20)], PREPROCESSING)
    mean, std = load_weights(model.trunk, weights, "vgg16")
    model.preprocessing = Preprocessing(PREPROCESSING.size, mean, std)
    model.eval().optimise_for("cpu", "32-true")
    return model


def main() -> None:
    parser = arguments("From a JPEG file to the network's input, and what decoding at a part of the size changes.")
    parser.add_argument("--data", type=Path, required=True, help="a folder of photographs")
    parser.add_argument("--ckpt", type=Path, help="measure the effect on this network's maps")
    parser.add_argument("--weights", help="or on those of VGG-16 with these weights and a head from a seed")
    parser.add_argument("--turbojpeg", help="libturbojpeg.so, where PyTurboJPEG does not find it")
    parser.add_argument("--images", type=int, default=48, help="for the effect")
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    photographs = sorted(path for path in asked.data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    threads = torch.get_num_threads()
    drafts: dict[str, Way] = {f"Pillow, draft to {f}×": lambda path, f=f: draft(path, f) for f in FACTORS}
    ways: dict[str, Way] = {
        "Pillow, full": lambda path: pillow_resize(read_image(path)),
        "camexp": lambda path: np.asarray(PREPROCESSING.resize(read_pixels(path))),
        "camexp without simplejpeg": lambda path: np.asarray(PREPROCESSING.resize(read_image(path))),
        **drafts,
        **library_ways(asked.turbojpeg),
    }
    result: dict[str, Any] = {"benchmark": "decode", **machine("cpu", "pillow", "torchvision"), "rates": {}}
    with tempfile.TemporaryDirectory() as name:
        few = photographs[:: -(-len(photographs) // 8)]
        some = photographs[:: max(1, len(photographs) // asked.images)][: asked.images]
        large = {kind: enlarge(few, Path(name, kind), CAMERA[:1], kind == "noise") for kind in ("noise", "smooth")}
        torch.set_num_threads(1)  # as in a data loader's worker
        for title, paths in {**large, "as it came": some}.items():
            size = statistics.mean(path.stat().st_size for path in paths) / 1e6
            result["rates"][title] = rates(ways, paths, asked.repeats)
            print_rates(f"{title}: {len(paths)} photographs of {size:.2f} MB on average", result["rates"][title])
        torch.set_num_threads(threads)
        if asked.ckpt or asked.weights:
            model = network(asked.ckpt, asked.weights)
            result["effects"] = {}
            for kind in ("noise", "smooth"):
                paths = enlarge(some, Path(name, f"{kind} all"), CAMERA, kind == "noise")
                result["effects"][kind] = effects(model, paths)
                print_effects(f"{kind}: {len(paths)} photographs, a map's share of its range", result["effects"][kind])
    publish(result, asked.json)


if __name__ == "__main__":
    main()
