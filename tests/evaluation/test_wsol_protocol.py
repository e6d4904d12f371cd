"""Figures on wsolevaluation's lists against its definitions, written plainly (Choe et al., CVPR 2020 and TPAMI 2022)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.layouts import cub200, wsol

SIDE = 224


def heatmaps(options: dict[str, str], part: str, folder: Path) -> dict[str, np.ndarray]:
    """Maps of a part's images at 224×224 in [0, 1], with 0 and 1 in them: nothing is left to resize or to normalise."""
    maps, rng = {}, np.random.default_rng(5)
    for name in Path(options["metadata"], part, "image_ids.txt").read_text().split():
        coarse = Image.fromarray(rng.random((7, 7), np.float32) ** 2)
        cam = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        maps[name] = (cam - cam.min()) / (cam.max() - cam.min())
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        np.save((folder / name).with_suffix(".npy"), maps[name])
    return maps


def measured(script, options: dict[str, str], *more: str) -> dict:
    given = [f"dataset.{key}={value}" for key, value in options.items()]
    done = script("evaluate.py", "dataset=wsol", *given, "heatmaps=heatmaps", "output=figures", *more)
    assert done.code == 0, done.err
    return json.loads(Path("figures/metrics.json").read_text())["methods"]["heatmaps"]


def read(options: dict[str, str], part: str, name: str) -> dict[str, list[list[str]]]:
    rows = defaultdict(list)
    for line in Path(options["metadata"], part, f"{name}.txt").read_text().splitlines():
        image, *rest = line.split(",")
        rows[image].append(rest)
    return rows


def iou(a, b) -> float:
    across, down = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(0, across) * max(0, down)
    return shared / (sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)) - shared)


def box_accuracies(maps, boxes, sizes, deltas, all_contours):
    """The share of right images at the best of the thresholds 0, 0.001, … 0.999, for each IoU."""
    cv2 = pytest.importorskip("cv2")
    right = np.zeros((len(deltas), 1000))
    for name, cam in maps.items():
        width, height = map(int, sizes[name][0])
        truth = [
            [int(int(value) * SIDE / (width, height)[axis % 2]) for axis, value in enumerate(box)]
            for box in boxes[name]
        ]
        grey = (cam * 255).astype(np.uint8)
        for step, threshold in enumerate(np.arange(0, 1, 0.001)):
            _, above = cv2.threshold(grey, int(threshold * grey.max()), 255, cv2.THRESH_BINARY)
            found = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
            if not all_contours:
                found = [max(found, key=cv2.contourArea)]
            corners = [
                (x, y, min(x + w, SIDE - 1), min(y + h, SIDE - 1)) for x, y, w, h in map(cv2.boundingRect, found)
            ]
            best = max(iou(one, box) for one in corners for box in truth)
            right[:, step] += [best >= delta for delta in deltas]
    return (right / len(maps)).max(1)


def test_box_figures_of_a_part(script, tmp_path):
    pytest.importorskip("cv2")
    part = "test"
    options = wsol(tmp_path / "cub", each=2)
    maps = heatmaps(options, part, tmp_path / "heatmaps")
    figures = measured(script, options, f"part={part}", "components_by=contours")
    boxes, sizes = (read(options, part, name) for name in ("localization", "image_sizes"))
    deltas = (0.3, 0.5, 0.7)
    by_iou = box_accuracies(maps, boxes, sizes, deltas, all_contours=True)
    assert figures["images_with_boxes"] == len(maps) == 4
    assert by_iou[0] > 0 and list(figures["MaxBoxAccV2_by_iou"].values()) == pytest.approx(by_iou)
    assert figures["MaxBoxAccV2"] == pytest.approx(by_iou.mean())
    assert figures["MaxBoxAcc"] == pytest.approx(box_accuracies(maps, boxes, sizes, (0.5,), all_contours=False)[0])


def test_pixel_figures_of_a_part(script, tmp_path):
    cv2 = pytest.importorskip("cv2")
    options = wsol(tmp_path / "open", each=2, masks=True)
    maps = heatmaps(options, "val", tmp_path / "heatmaps")
    figures = measured(script, options)  # val: what a data set with parts is measured on if nothing is said

    def at_224(file: str) -> np.ndarray:
        grey = cv2.imread(str(Path(options["root"], file)), cv2.IMREAD_GRAYSCALE).astype(np.float32)
        return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0.5

    scores, objects = [], []
    for name, rows in read(options, "val", "localization").items():
        mask = np.any([at_224(file) for file, _ in rows], 0)
        counted = mask | ~at_224(rows[0][1])
        scores.append(maps[name][counted])
        objects.append(mask[counted])
    score, of_object = np.concatenate(scores), np.concatenate(objects)
    area, before = 0.0, 0.0
    for step in range(1000, -1, -1):
        found = np.floor(score * np.float32(1000)) >= step
        recall = of_object[found].sum() / of_object.sum()
        area += of_object[found].mean() * (recall - before) if found.any() else 0.0
        before = recall
    assert figures["PxAP"] == pytest.approx(area, abs=1e-6)
    assert "MaxBoxAcc" not in figures and len(maps) == 4


SMALL = (
    "model.width=0.0625", "model.weights=null", "model.head.channels=8", "model.head.init_std=0.05", "transform.size=32",
    "transform.train.resize=40", "batch_size=4", "num_workers=0", "trainer.gpus=0", "trainer.max_epochs=2", "logger=csv",
)  # fmt: skip


def test_training_and_measuring_with_one_preset(script, tmp_path):
    options = wsol(tmp_path / "cub")
    given = [f"dataset.{key}={value}" for key, value in options.items()]
    done = script("train.py", "experiment=wsol", *given, *SMALL, "hydra.run.dir=run")
    assert done.code == 0, done.err
    listed = {part: Path(f"run/splits/{part}.csv").read_text() for part in ("train", "val")}
    assert [text.count("\n") - 1 for text in listed.values()] == [8, 8]
    assert (
        "/val0.jpg" in listed["val"]
        and "/train0.jpg" in listed["train"]
        and "/test0.jpg" not in "".join(listed.values())
    )
    common = ("ckpt=run/checkpoints/last.ckpt", "gpus=0", "num_workers=0", "report=false")
    for part, more in (("val", ()), ("test", ("part=test", "threshold.from=of_val"))):  # val if nothing is said
        done = script("evaluate.py", *common, f"output=of_{part}", *more)
        assert done.code == 0, done.err
    figures = {
        part: json.loads(Path(f"of_{part}/metrics.json").read_text())["methods"]["cam"] for part in ("val", "test")
    }
    assert figures["test"]["images_with_boxes"] == figures["val"]["images_with_boxes"] == 8
    assert figures["test"]["threshold"] == figures["val"]["best_threshold"]


def test_the_same_preset_on_the_archive_of_cub(script, tmp_path):
    root = cub200(tmp_path / "cub")["root"]
    done = script("train.py", "experiment=wsol", "dataset=cub200", f"dataset.root={root}", *SMALL, "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert Path("run/splits/train.csv").read_text() == Path("run/splits/val.csv").read_text()
    common = ("ckpt=run/checkpoints/last.ckpt", "gpus=0", "num_workers=0", "report=false")
    done = script("evaluate.py", *common, "part=test", "output=test")
    assert done.code == 0 and "measuring on 4 images (part=test)" in done.out + done.err
    assert "trained on" not in done.err
    assert json.loads(Path("test/metrics.json").read_text())["methods"]["cam"]["images_with_boxes"] == 4


def test_a_part_that_there_is_not(script, tmp_path, colours):
    options = wsol(tmp_path / "cub")
    for file in (Path(options["metadata"], "test")).iterdir():
        file.unlink()
    Path(options["metadata"], "test").rmdir()
    given = [f"dataset.{key}={value}" for key, value in options.items()]
    done = script("evaluate.py", "heatmaps=heatmaps", "dataset=wsol", *given, "part=test")
    assert done.code == 1 and "part=test: the data set in" in done.err and "take part=val" in done.err
    done = script("evaluate.py", "heatmaps=heatmaps", "dataset=imagefolder", f"dataset.root={colours}", "part=test")
    assert done.code == 1 and "names no such images of its own: take part=val" in done.err
