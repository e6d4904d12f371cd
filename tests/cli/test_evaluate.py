"""evaluate.py as its user runs it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import camexp
from camexp.cam.maps import min_max, upsample
from camexp.images import read_image
from tests.conftest import TINY, run_process

SHAPES = ("dataset=shapes", "dataset.per_class=6", "dataset.size=64", *TINY, "trainer.max_epochs=1")


@pytest.fixture
def run(script):
    """A tiny network trained on a few shapes; the folder it stands in."""
    assert script("train.py", *SHAPES, "hydra.run.dir=run").code == 0
    return lambda *arguments: script("evaluate.py", "ckpt=run/checkpoints/best.ckpt", "num_workers=0", *arguments)


def metrics(folder: str) -> dict:
    return json.loads(Path(folder, "metrics.json").read_text())


def rows(path: str) -> list[dict]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_runs_own_validation_images_by_default(run):
    done = run("output=out")
    assert done.code == 0, done.err
    result = metrics("out")
    cam = result["methods"]["cam"]
    assert result["images"] == 8 and result["images_trained_on"] == 0
    assert {"top1", "MaxBoxAcc", "MaxBoxAccV2", "PxAP", "PxIoU", "pointing_game"} <= set(cam)
    assert cam["GT_known_localisation"] == pytest.approx(cam["MaxBoxAcc"])
    assert cam["top1_localisation"] <= min(cam["GT_known_localisation"], cam["top1"])
    assert "MaxBoxAccV2" in done.out and "the best on these images themselves" in done.out
    table = rows("out/per_image.csv")
    assert len(table) == 8 and sum(float(row["iou"]) >= 0.5 for row in table) == round(8 * cam["MaxBoxAcc"])
    summary = json.loads(Path("run/summary.json").read_text())
    assert cam["top1"] == pytest.approx(summary["final"]["val/accuracy"])
    assert cam["pointing_game"] == pytest.approx(summary["final"]["val/pointing"])
    for name in ("best.png", "worst.png", "curves.png"):
        with Image.open(Path("out", name)) as picture:
            assert picture.width > 200
    assert sum(int(row["images"]) for row in rows("out/per_class.csv")) == 8
    assert not list(Path("out").rglob(".*~*"))


def test_methods_side_by_side_and_faithfulness(run):
    done = run(
        "output=out", "cam=cam,gradcam,layercam", "cam.flip=true", "faithfulness.images=3", "faithfulness.steps=4"
    )
    assert done.code == 0, done.err
    result = metrics("out")["methods"]
    assert list(result) == ["cam", "gradcam", "layercam"]
    assert all(
        {"insertion", "deletion", "average_drop", "increase", "seconds_per_image"} <= set(one)
        for one in result.values()
    )
    assert re.search(r"^\s+cam\s+gradcam\s+layercam$", done.out, re.MULTILINE)
    assert Path("out/gradcam_worst.png").exists() and len(rows("out/per_image.csv")) == 24


@pytest.mark.slow
def test_principal_components_beside_cam_in_a_process_of_their_own(run, tmp_path):
    done = run_process(
        "evaluate.py", "ckpt=run/checkpoints/best.ckpt", "cam=cam,pc1", "num_workers=0", "gpus=0", "output=out",
        "faithfulness.images=2", "faithfulness.steps=2", cwd=tmp_path, fresh=True,
    )  # fmt: skip
    assert done.code == 0, done.err
    cam, pc1 = metrics("out")["methods"].values()
    assert cam.keys() == pc1.keys() and cam["top1"] == pc1["top1"]
    assert 0 < pc1["MaxBoxAccV2"] <= 1 and 0 < pc1["PxAP"] <= 1
    assert Path("out/pc1_worst.png").exists() and len(rows("out/per_image.csv")) == 16


def test_a_threshold_of_other_images(run):
    assert run("output=train", "part=train").code == 0
    done = run("output=val", "threshold.from=train")
    assert done.code == 0 and "chosen on train" in done.out
    assert metrics("val")["methods"]["cam"]["threshold"] == metrics("train")["methods"]["cam"]["best_threshold"]
    assert metrics("val")["threshold_chosen_on"] == "train"
    best = run("output=best")
    assert best.code == 0
    assert metrics("val")["methods"]["cam"]["MaxBoxAccV2"] <= metrics("best")["methods"]["cam"]["MaxBoxAccV2"]
    assert metrics("train")["images_trained_on"] == 40
    done = run("output=x", "threshold.from=train", "cam=gradcam")
    assert done.code == 1 and "has no figures of gradcam" in done.err


def test_maps_made_elsewhere_score_as_our_own(run, script):
    assert run("output=ours", "part=all").code == 0
    model = camexp.load("run/checkpoints/best.ckpt", "cpu")
    root = next(Path("outputs/data/shapes").glob("*/images"))
    for path in root.rglob("*.jpg"):
        cam = model.explain(model.preprocess(read_image(path))[None], path.parent.name).maps
        target = Path("theirs") / path.relative_to(root).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, min_max(upsample(cam, (224, 224)))[0, 0].numpy())
    assert run("output=theirs_out", "heatmaps=theirs", "part=all").code == 0
    ours, theirs = metrics("ours")["methods"]["cam"], metrics("theirs_out")["methods"]["heatmaps"]
    for key in ("MaxBoxAcc", "MaxBoxAccV2", "PxAP", "top1"):
        assert theirs[key] == pytest.approx(ours[key], abs=0.021)
    # without any network
    done = script(
        "evaluate.py", "heatmaps=theirs", "dataset=shapes", "dataset.per_class=6", "dataset.size=64", "output=alone"
    )
    assert done.code == 0, done.err
    assert metrics("alone")["methods"]["heatmaps"]["MaxBoxAccV2"] == pytest.approx(theirs["MaxBoxAccV2"])
    assert "top1" not in metrics("alone")["methods"]["heatmaps"]


@pytest.mark.parametrize("label", ["predicted", "top5"])
def test_whose_map(run, label):
    done = run("output=out", f"label={label}", "size=native")
    assert done.code == 0, done.err
    assert metrics("out")["label"] == label and metrics("out")["scored_at"] == "native size"
    sizes = {(row["scored_height"], row["scored_width"]) for row in rows("out/per_image.csv")}
    assert sizes == {("64", "64")}


def test_trained_images_are_told(run):
    done = run("output=out", "part=all")
    assert "was trained on 40 of" in done.out and metrics("out")["images_trained_on"] == 40


def test_contours_give_nearly_the_same(run):
    pytest.importorskip("cv2")
    assert run("output=tree").code == 0 and run("output=contours", "components_by=contours").code == 0
    ours, theirs = (metrics(name)["methods"]["cam"] for name in ("tree", "contours"))
    assert ours["MaxBoxAccV2"] == pytest.approx(theirs["MaxBoxAccV2"], abs=0.1)  # eight images


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["label=banana"], "label=banana is not known"),
        (["part=tests"], "part=tests is not known"),
        (["part=test"], "names no such images of its own: take part=val"),
        (["components_by=x"], "components_by=x is not known"),
        (["size=7"], "size=7 is not a size"),
        (["boxes=nowhere.csv"], "boxes=nowhere.csv does not exist"),
        (["masks=nowhere"], "masks=nowhere is not a folder"),
        (["heatmaps=nowhere"], "heatmaps=nowhere has no map of"),
        (["threshold.from=nowhere"], "threshold.from=nowhere holds no evaluation"),
        (["cam=gradcamm"], "cam=gradcamm is not a choice: did you mean gradcam"),
        (["cam=cam,gradcamm"], "cam.method=gradcamm is not a method"),
        (["cam.scales=[9]"], "cam.scales=[9] is out of range"),
        (["batch_size=0"], "batch_size=0 is out of range"),
        (["faithfulness.steps=0"], "faithfulness.steps=0 is out of range"),
        (["dataset=imagefolder", "dataset.root=other"], "dataset.root=other"),
        (["features.dtype=int8"], "features.dtype=int8 is not known"),
    ],
)
def test_bad_options_are_one_sentence(run, arguments, said):
    done = run("output=out", *arguments)
    assert done.code == 1 and said in done.err and "Traceback" not in done.err + done.out
    assert not Path("out/metrics.json").exists()


def test_nothing_given(script):
    done = script("evaluate.py")
    assert done.code == 1 and "ckpt is not given" in done.err


def test_a_class_that_the_network_does_not_know(run, colours):
    done = run("dataset=imagefolder", f"dataset.root={colours}")
    assert done.code == 1 and "has the class blue, which the checkpoint does not know" in done.err
