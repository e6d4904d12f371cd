"""8-bit ONNX on a CPU: its speed beside bfloat16 and float32, and what its maps and classes lose.

``python benchmarks/int8.py --ckpt RUN/checkpoints/last.ckpt --data FOLDER --boxes boxes.csv``. Without ``--ckpt`` a
network of random weights is timed (``--model vgg16`` or ``torchvision/resnet50``), and nothing else said of it.
The calibration images are of the checkpoint's own training part, or of ``--data`` where it does not tell; accuracy is
measured on its validation part, MaxBoxAccV2 on all of ``--data`` that have boxes, or else on the validation part of the
checkpoint's own data, by ``evaluate.py``'s own functions.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from timing import arguments, machine, publish, time_in_turn

from camexp import evaluation
from camexp.data import read_image
from camexp.export.graph import CAMGraph
from camexp.export.int8 import find_calibration, quantise
from camexp.export.onnx import onnx_runner, write_onnx
from camexp.export.torch_export import trace
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata, load

CONF = str(Path(__file__).resolve().parents[1] / "camexp" / "conf")


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--ckpt", help="a trained network; default: random weights")
    parser.add_argument("--model", default="vgg16", help="of random weights: vgg16, torchvision/resnet50 …")
    parser.add_argument("--data", help="images, one folder a class: for calibration and figures (random ones: noise)")
    parser.add_argument("--boxes", help="their boxes")
    parser.add_argument("--size", type=int, default=224, help="of the timed batch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--calibration", type=int, default=128, help="images")
    parser.add_argument("--openvino", action="store_true", help="the same files in openvino too")
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ckpt = asked.ckpt or random_checkpoint(asked.model, asked.size, folder)
        graph = load(ckpt, "cpu", "32-true")
        float32 = write_onnx(trace(CAMGraph(graph)), ["logits", "maps"], folder)
        int8 = folder / "int8.onnx"
        int8.write_bytes(float32.read_bytes())
        model = load(ckpt, "cpu", "32-true")
        agreement = quantise(int8, model, calibration_images(asked, ckpt, folder), preprocessing=False)
        print(agreement)
        result: dict[str, Any] = {"agreement": vars(agreement), **speed(asked, ckpt, float32, int8)}
        if asked.ckpt:
            result |= figures(asked, ckpt, {"float32": float32, "int8": int8}, folder)
    packages = ("onnxruntime", "openvino") if asked.openvino else ("onnxruntime",)
    publish({"benchmark": "int8", **machine("cpu", *packages), **result}, asked.json)


def random_checkpoint(name: str, size: int, folder: Path) -> str:
    """A checkpoint of that trunk with random weights and the recipe's head, or a ResNet's own."""
    torch.manual_seed(0)
    head = {"kind": "gap"} if "/" in name else {}
    model = CAMClassifier(name, [str(label) for label in range(20)], Preprocessing((size, size)), head=head).eval()
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, folder / "random.ckpt")
    return str(folder / "random.ckpt")


def calibration_images(asked: Any, ckpt: str, folder: Path) -> list[Path]:
    """Of the training part where the run tells it, else any; noise where there are no images."""
    listed = Path(ckpt).resolve().parent.parent / "splits" / "train.csv"
    if not asked.data and not listed.is_file():
        from PIL import Image

        rng = np.random.default_rng(0)
        for number in range(8):
            Image.fromarray(rng.integers(0, 256, (asked.size, asked.size, 3), np.uint8)).save(folder / f"{number}.png")
        return sorted(folder.glob("*.png"))
    if not listed.is_file():
        return find_calibration(asked.data, asked.calibration)
    import csv

    paths = [Path(row["path"]) for row in csv.DictReader(listed.open(encoding="utf-8"))]
    chosen = np.random.default_rng(0).permutation(len(paths))[: asked.calibration]
    return [paths[index] for index in chosen]


def speed(asked: Any, ckpt: str, float32: Path, int8: Path) -> dict[str, Any]:
    """Logits and the maps of all classes of one batch, each way in turn."""
    batch = np.random.default_rng(0).standard_normal((asked.batch, 3, asked.size, asked.size), dtype=np.float32)
    images = torch.from_numpy(batch)
    auto, exact = load(ckpt, "cpu", "auto"), load(ckpt, "cpu", "32-true")
    runs = {name: onnx_runner(file) for name, file in (("float32", float32), ("int8", int8))}
    ways: dict[str, Callable[[], Any]] = {
        f"camexp auto ({auto.precision})": lambda: auto.explain(images, "all"),
        "camexp float32": lambda: exact.explain(images, "all"),
        **{f"onnxruntime {name}": (lambda run=run: run(batch)) for name, run in runs.items()},
    }
    if asked.openvino:
        import openvino

        core = openvino.Core()
        for name, file in (("float32", float32), ("int8", int8)):
            compiled = core.compile_model(str(file), "CPU")
            ways[f"openvino {name}"] = lambda compiled=compiled: compiled(batch)
    seconds = time_in_turn(ways, asked.repeats, "cpu")
    milliseconds = {name: 1000 * value / asked.batch for name, value in seconds.items()}
    auto_ms, exact_ms, int8_ms = (next(iter(milliseconds.values())), milliseconds["camexp float32"],
                                  milliseconds["onnxruntime int8"])  # fmt: skip
    print(f"a batch of {asked.batch} at {asked.size}×{asked.size}, maps of all classes, medians of {asked.repeats}")
    for name, value in milliseconds.items():
        print(
            f"  {name:32} {value:8.1f} ms an image   {auto_ms / value:5.2f} × auto   {exact_ms / value:5.2f} × float32"
        )
    print(f"  int8 is {auto_ms / int8_ms:.2f} times faster than auto (target: 1.5 with bfloat16) and "
          f"{exact_ms / int8_ms:.2f} times than float32 (target: 2.5)")  # fmt: skip
    return {"milliseconds": milliseconds, "faster_than_auto": auto_ms / int8_ms, "than_float32": exact_ms / int8_ms}


def figures(asked: Any, ckpt: str, files: dict[str, Path], folder: Path) -> dict[str, Any]:
    """Accuracy on the validation part and MaxBoxAccV2 on what has boxes, of the graphs and of the checkpoint."""
    data = ["dataset=imagefolder", f"dataset.root='{asked.data}'"] if asked.data else []
    with initialize_config_dir(CONF, version_base="1.3"):
        options = evaluation.read_options(compose("evaluate", [f"ckpt='{ckpt}'", "output=none", *data, "part=val"]))
        model, trained = evaluation.load_model(options)
        validation = evaluation.find_images(options, model, trained)
        boxed_by = [f"boxes='{asked.boxes}'"] if asked.boxes else []
        whole = evaluation.read_options(compose("evaluate", [f"ckpt='{ckpt}'", "output=none", *data, *boxed_by]))
    images = evaluation.find_images(whole, model, trained)
    boxed = sorted(evaluation.find_truth(whole, images).boxes)
    exact, auto = load(ckpt, "cpu", "32-true"), load(ckpt, "cpu", "auto")

    def explained(network: CAMClassifier) -> Callable[[Any], dict[str, Any]]:
        def run(batch: Any) -> dict[str, Any]:
            result = network.explain(torch.from_numpy(batch), "all")
            return {"logits": result.logits.numpy(), "maps": result.maps.numpy()}

        return run

    runs = {f"camexp auto ({auto.precision})": explained(auto),
            **{f"onnxruntime {name}": onnx_runner(file) for name, file in files.items()}}  # fmt: skip
    result: dict[str, Any] = {}
    for name, run in runs.items():
        right = [
            int(run(exact.preprocess(read_image(path))[None].numpy())["logits"][0].argmax()) == label
            for path, label in zip(validation.paths, validation.labels, strict=True)
        ]
        maps = folder / name.replace(" ", "_")
        for index in boxed:
            path = images.paths[index]
            file = (maps / path.relative_to(images.root)).with_suffix(".npy")
            file.parent.mkdir(parents=True, exist_ok=True)
            cams = run(exact.preprocess(read_image(path))[None].numpy())["maps"][0]
            np.save(file, cams[images.labels[index]].astype(np.float32))
        result[name] = {"accuracy": float(np.mean(right)), **box_accuracy(ckpt, maps, images, boxed, boxed_by, folder)}
        print(f"  {name:32} accuracy {100 * result[name]['accuracy']:.2f} ({len(right)} images)   MaxBoxAccV2 "
              f"{100 * result[name].get('MaxBoxAccV2', float('nan')):.2f} ({len(boxed)} images)")  # fmt: skip
    return {"figures": result}


def box_accuracy(
    ckpt: str, maps: Path, images: Any, boxed: list[int], boxed_by: list[str], folder: Path
) -> dict[str, float]:
    """``evaluate.py heatmaps=``'s MaxBoxAccV2 on the images that have boxes."""
    if not boxed:
        return {}
    output = folder / f"{maps.name}_evaluation"
    overrides = [f"ckpt='{ckpt}'", f"heatmaps='{maps}'", f"output='{output}'", "sheet.images=0", *boxed_by]
    with initialize_config_dir(CONF, version_base="1.3"):
        options = evaluation.read_options(compose("evaluate", overrides))
    some = images.take(boxed)
    evaluation.report(evaluation.evaluate(None, some, evaluation.find_truth(options, some), options), options)
    method = json.loads((output / "metrics.json").read_text())["methods"]["heatmaps"]
    return {"MaxBoxAccV2": float(method["MaxBoxAccV2"])}


if __name__ == "__main__":
    main()
