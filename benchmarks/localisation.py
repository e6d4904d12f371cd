"""Boxes at 1,000 thresholds: camexp's one pass beside a contour search a threshold, on a network's real maps.

``python benchmarks/localisation.py --ckpt RUN/checkpoints/best.ckpt [--data FOLDER --boxes boxes.csv]``. The
reference is the public evaluator of Choe et al. (CVPR 2020), its loops written out here, on one core like ours.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from timing import arguments, machine, publish

from camexp import evaluation
from camexp.data import read_image
from camexp.evaluation.components import components
from camexp.evaluation.contours import contours
from camexp.evaluation.max_box_acc import MaxBoxAcc, best_ious, box_iou
from camexp.evaluation.pixel_precision import PixelPrecision
from camexp.evaluation.scores import upsample_and_normalise

CONF = str(Path(__file__).resolve().parents[1] / "conf")
IOUS = (0.3, 0.5, 0.7)


def reference_curve(cam: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The best IoU at each of 1,000 thresholds, as the public evaluator finds it."""
    found = contours(cam, 1000)
    best = np.zeros(1001, np.float32)
    np.maximum.at(best, found.levels, box_iou(found.boxes, truth).max(1).astype(np.float32))
    return best


def reference_pxap(maps: list[np.ndarray], masks: list[np.ndarray]) -> float:
    """The public evaluator's PxAP: histograms with bins of 0.001, its first precision left out."""
    edges = np.append(np.arange(0, 1, 0.001), [1.0, 2.0, 3.0])
    on, off = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for cam, mask in zip(maps, masks, strict=True):
        on += np.histogram(cam[mask], edges)[0]
        off += np.histogram(cam[~mask], edges)[0]
    true, false = on[::-1].cumsum(), off[::-1].cumsum()
    seen = true + false > 0
    precision, recall = true / np.maximum(true + false, 1), true / true[-1]
    return float((precision[1:] * np.diff(recall))[seen[1:]].sum())


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--data", help="one folder of images a class; default: the checkpoint's own validation images")
    parser.add_argument("--boxes", help="their boxes")
    parser.add_argument("--images", type=int, default=150)
    asked = parser.parse_args()
    overrides = [f"ckpt='{asked.ckpt}'", "output=none", f"gpus={int(asked.device == 'cuda')}", "precision=32-true"]
    if asked.data:
        overrides += ["dataset=imagefolder", f"dataset.root='{asked.data}'"]
    if asked.boxes:
        overrides += [f"boxes='{asked.boxes}'"]
    with initialize_config_dir(CONF, version_base="1.3"):
        options = evaluation.read_options(compose("evaluate", overrides))
    model, trained = evaluation.load_model(options)
    assert model is not None
    images = evaluation.find_images(options, model, trained)
    truth = evaluation.find_truth(options, images)
    places = sorted(truth.boxes)[:: max(1, len(truth.boxes) // asked.images)][: asked.images]

    maps, boxes, masks = [], [], []
    for place in places:
        picture = model.preprocess(read_image(images.paths[place]))[None]
        cam = model.explain(picture, [[images.labels[place]]]).maps[0, 0].cpu()
        maps.append(upsample_and_normalise(cam, (224, 224)).numpy())
        found, _ = truth.scaled_boxes(place, (224, 224))
        assert found is not None
        boxes.append(found)
        mask, _ = truth.masks(place)
        if mask is None:  # its boxes, filled
            mask = torch.zeros(224, 224, dtype=torch.bool)
            for x0, y0, x1, y1 in found.astype(int):
                mask[y0 : y1 + 1, x0 : x1 + 1] = True
        large = torch.nn.functional.interpolate(mask[None, None].float(), (224, 224))[0, 0] > 0.5
        masks.append(large.numpy())

    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)
    ours, theirs = MaxBoxAcc(IOUS), MaxBoxAcc(IOUS)
    seconds = {"ours": 0.0, "theirs": 0.0}
    best_ious(components(maps[0]), boxes[0])
    for cam, truths in zip(maps, boxes, strict=True):
        start = time.perf_counter()
        curve = best_ious(components(cam), truths)
        middle = time.perf_counter()
        reference = reference_curve(cam, truths)
        seconds["ours"] += middle - start
        seconds["theirs"] += time.perf_counter() - middle
        ours.update(torch.from_numpy(curve)[None])
        theirs.update(torch.from_numpy(reference)[None])
    pixels = PixelPrecision()
    pixels.update(torch.from_numpy(np.stack(maps)), torch.from_numpy(np.stack(masks)))
    result: dict[str, Any] = {
        "maps": len(maps),
        "milliseconds_a_map": {name: value / len(maps) * 1e3 for name, value in seconds.items()},
        "faster": seconds["theirs"] / seconds["ours"],
        "MaxBoxAccV2": {"ours": 100 * float(ours.compute()), "theirs": 100 * float(theirs.compute())},
        "PxAP": {"ours": 100 * float(pixels.compute()["PxAP"]), "theirs": 100 * reference_pxap(maps, masks)},
    }
    print(f"{len(maps)} maps of 224×224, 1,000 thresholds, all components, one core")
    for name, value in result["milliseconds_a_map"].items():
        print(f"  {name:8} {value:8.2f} ms a map")
    print(f"  ours is {result['faster']:.1f} times faster (target: at least 20)")
    for name in ("MaxBoxAccV2", "PxAP"):
        one, other = result[name]["ours"], result[name]["theirs"]
        print(f"  {name}: {one:.2f} and {other:.2f}, {one - other:+.2f} points")
    publish(
        {"benchmark": "localisation", **machine(asked.device, "opencv-python-headless", "numpy"), **result}, asked.json
    )


if __name__ == "__main__":
    main()
