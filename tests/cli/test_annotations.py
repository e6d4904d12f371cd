"""Weak labels as annotation tools and detectors read them."""

from __future__ import annotations

import copy
import csv
import json
import shutil
import signal
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pycocotools.coco import COCO
from scipy.io import loadmat
from torchvision.datasets import CocoDetection, VOCDetection

from camexp.data.box_formats import read_boxes
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from camexp.prediction import run as prediction
from tests.conftest import paint

# pycocotools under NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CLASSES = ["cat", "ice cream, (big) = 1", "dog/wolf"]
SIZES = {"a.jpg": (60, 80), "b=1, ü [x].jpg": (90, 120), "sub/a.jpg": (70, 50), "sub/new folder/c d.jpg": (40, 40)}
RECORDS = (".annotations.jsonl", ".report.jsonl")  # what a resumed prediction goes on from
ALL = "annotations=[coco,yolo,voc,masks]"


def save(path: Path, change=None) -> None:
    torch.manual_seed(0)
    model = CAMClassifier(
        "vgg11_bn", CLASSES, Preprocessing((64, 64)), width=1 / 16, head={"channels": 8, "init_std": 0.3}
    )
    if change is not None:
        change(model)
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, path)


@pytest.fixture
def predict(script, tmp_path):
    """predict.py on a folder of four photographs of different sizes, two of them in sub-folders."""
    save(tmp_path / "a.ckpt")
    for number, (name, (height, width)) in enumerate(SIZES.items()):
        paint(tmp_path / "my photos" / name, (60 * number, 90, 200 - 60 * number), (width, height), seed=number)

    def call(*arguments: str):
        given = ("ckpt=a.ckpt", "gpus=0", "precision=32-true", "num_workers=0", "report=false", "montage.images=0")
        inputs = () if any(one.startswith("input=") for one in arguments) else ("input=my photos",)
        return script("predict.py", *given, *inputs, *arguments)

    return call


def test_public_readers_find_the_same_in_every_format(predict, tmp_path):
    done = predict(ALL, "threshold.value=0.6", "objects.parts=all", "label=all", "output=out", "mat.upsampled=true")
    assert done.code == 0, done.err
    root = tmp_path / "out" / "annotations"

    dataset = CocoDetection(str(tmp_path / "my photos"), str(root / "coco" / "instances.json"))
    coco = dataset.coco
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == CLASSES
    results = coco.loadRes(copy.deepcopy(coco.dataset["annotations"]))  # they are what a detector's results are too
    assert len(results.anns) == len(coco.anns) >= 12
    found: dict[str, list[tuple[int, tuple[int, ...]]]] = {}
    for (picture, anns), image in zip(dataset, coco.loadImgs(dataset.ids), strict=True):
        name, size = image["file_name"], (image["height"], image["width"])
        assert size == SIZES[name] == picture.size[::-1]
        with Image.open((root / "masks" / name).with_suffix(".png")) as png:
            drawn = np.array(png)
        content = loadmat(tmp_path / "out" / "maps" / f"{mat_name(name)}.mat")
        union, top = np.zeros(size, bool), np.zeros(size, int)
        for label in np.argsort(content["probabilities"][0]):
            cam = content["upsampled"][label]
            above = (cam - cam.min()) / (cam.max() - cam.min()) >= 0.6
            masks = [coco.annToMask(one).astype(bool) for one in anns if one["category_id"] == label + 1]
            for one, mask in zip((one for one in anns if one["category_id"] == label + 1), masks, strict=True):
                rows, columns = np.nonzero(mask)
                assert one["bbox"] == [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
                assert one["area"] == mask.sum() >= 0.01 * mask.size and not one["iscrowd"]
                assert one["score"] == pytest.approx(content["probabilities"][0, label], abs=1e-6)
            kept = np.any(masks, 0) if masks else np.zeros(size, bool)
            assert np.sum(masks) == kept.sum() and not (kept & ~above).any()
            assert (above & ~kept).sum() < 0.05 * mask.size  # what is left are small parts
            union |= kept
            top[kept] = label + 1
        assert np.array_equal(drawn > 0, union) and np.array_equal(drawn, top)
        found[name] = [
            (one["category_id"] - 1, (x, y, x + w - 1, y + h - 1)) for one in anns for x, y, w, h in [one["bbox"]]
        ]

    assert set(found) == set(SIZES)
    assert (root / "masks" / "classes.txt").read_text().splitlines() == ["background", *CLASSES]

    data = yaml.safe_load((root / "yolo" / "data.yaml").read_text())
    assert list(data["names"].values()) == (root / "yolo" / "classes.txt").read_text().splitlines() == CLASSES
    (root / "yolo" / "images").symlink_to(tmp_path / "my photos")
    listed = [root / "yolo" / line for line in (root / "yolo" / data["train"]).read_text().splitlines()]
    assert [path.is_file() for path in listed] == [True] * 4
    for path in listed:
        # as Ultralytics finds the labels of an image, and what they say
        labels = "/labels/".join(str(path).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt"
        name = path.relative_to(root / "yolo" / "images").as_posix()
        rows = np.loadtxt(labels, ndmin=2)
        height, width = SIZES[name]
        centre, half = rows[:, 1:3] * [width, height], rows[:, 3:5] * [width, height] / 2
        boxes = np.concatenate([centre - half, centre + half - 1], 1)
        assert rows[:, 0].tolist() == [label for label, _ in found[name]]
        assert np.allclose(boxes, [box for _, box in found[name]], atol=1e-3)

    devkit = tmp_path / "VOCdevkit" / "VOC2012"
    devkit.mkdir(parents=True)
    (devkit / "JPEGImages").symlink_to(tmp_path / "my photos")
    for part in ("Annotations", "ImageSets"):
        (devkit / part).symlink_to(root / "voc" / part)
    for name, (picture, target) in zip(SIZES, VOCDetection(str(tmp_path), image_set="train"), strict=True):
        annotation = target["annotation"]
        assert annotation["filename"] == name and picture.size == (
            int(annotation["size"]["width"]), int(annotation["size"]["height"])
        )  # fmt: skip
        assert [
            (
                CLASSES.index(one["name"]),
                tuple(int(one["bndbox"][side]) - 1 for side in ("xmin", "ymin", "xmax", "ymax")),
            )
            for one in annotation["object"]
        ] == found[name]

    for source in ("coco/instances.json", "voc"):  # evaluate.py's boxes=
        assert {name: boxes.tolist() for name, boxes in read_boxes(root / source).items()} == {
            name: [list(box) for _, box in boxes] for name, boxes in found.items()
        }


def mat_name(name: str) -> str:
    return {"a.jpg": "my photos_a", "sub/a.jpg": "sub_a"}.get(name, Path(name).stem)


def test_the_threshold_of_an_evaluation(script, predict, tmp_path):
    """The annotations are the boxes that the evaluation itself finds at its best threshold."""
    names = []
    for number, name in enumerate(SIZES):  # two classes
        names.append(f"{CLASSES[number // 2]}/{name}")
        (tmp_path / "set" / names[-1]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "my photos" / name, tmp_path / "set" / names[-1])
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "x0", "y0", "x1", "y1"), *((name, 5, 9, 30, 34) for name in names)])
    done = script(
        "evaluate.py", "ckpt=a.ckpt", "dataset=imagefolder", "dataset.root=set", "boxes=boxes.csv", "label=predicted",
        "size=native", "part=all", "gpus=0", "precision=32-true", "num_workers=0", "report=false", "sheet.images=0",
        "output=measured",
    )  # fmt: skip
    assert done.code == 0, done.err
    best = json.loads((tmp_path / "measured" / "metrics.json").read_text())["methods"]["cam"]["best_threshold"]
    done = predict("input=set", "annotations=coco", "threshold.from=measured", "objects.min_area=0", "output=out")
    assert done.code == 0, done.err
    assert f"4 objects in 4 images at {best:g}" in done.out
    found = read_boxes(tmp_path / "out" / "annotations" / "coco" / "instances.json")
    with (tmp_path / "measured" / "per_image.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {str(Path(row["path"]).relative_to("set")) for row in rows} == set(found) == set(names)
    for row in rows:
        box = [float(row[key]) for key in ("x0", "y0", "x1", "y1")]
        assert found[str(Path(row["path"]).relative_to("set"))].tolist() == [box]

    done = predict("annotations=coco", "threshold.from=measured", "cam.flip=true", "output=flipped")
    assert done.code == 0 and "threshold.from=measured was measured with cam.flip=false" in done.out + done.err
    done = predict("annotations=coco", "threshold.from=measured", "cam=pc1", "output=other")
    assert done.code == 1 and "threshold.from=measured has no figures of pc1: it has those of cam" in done.err
    for threshold in (1.5, "high", None):
        (tmp_path / "measured" / "metrics.json").write_text(
            json.dumps({"methods": {"cam": {"best_threshold": threshold, "best_threshold_v2": 0.5}}})
        )
        done = predict("annotations=coco", "threshold.from=measured", "output=wrong")
        assert done.code == 1 and "threshold.from=measured holds no evaluation with boxes" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["annotations=coco"], "annotations=coco needs a threshold: give threshold.from=DIR"),
        (["annotations=[coco,coca]", "threshold.value=0.3"], "annotations=['coco', 'coca'] is not known: expected coco, yolo,"),
        (["annotations=coco", "threshold.from=nowhere"], "threshold.from=nowhere holds no evaluation with boxes"),
    ],
)  # fmt: skip
def test_wrong_options_are_told_before_anything_is_loaded(predict, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.setattr("camexp.prediction.setup.load", None)
    done = predict(*arguments, "output=out")
    assert done.code == 1 and sentence in done.err, done.err
    assert len(done.err.strip().splitlines()) == 1 and "Traceback" not in done.err
    assert not (tmp_path / "out" / "annotations").exists()


def test_annotations_of_an_earlier_run_are_neither_mixed_nor_replaced(predict, tmp_path):
    assert predict("annotations=yolo", "threshold.value=0.6", "output=out").code == 0
    label = tmp_path / "out" / "annotations" / "yolo" / "labels" / "a.txt"
    label.write_text("1 0.5 0.5 0.2 0.2\n")  # by hand
    done = predict("annotations=coco", "threshold.value=0.3", "output=out")
    assert done.code == 1 and "output=out holds annotations of an earlier run" in done.err
    assert label.read_text() == "1 0.5 0.5 0.2 0.2\n" and not (tmp_path / "out/annotations/coco").exists()
    assert predict("output=out").code == 0


def test_all_else_is_as_without_them(predict, tmp_path):
    assert predict("output=without", "label=top2").code == 0
    assert predict("output=with", "label=top2", ALL, "threshold.value=0.6").code == 0
    for name in ("predictions.csv", "overlays/sub_a__cat.png", "maps/c d.mat"):
        one, other = (tmp_path / folder / name for folder in ("without", "with"))
        assert one.exists() == other.exists()
        if name.endswith("csv"):
            assert one.read_bytes() == other.read_bytes()
    assert not (tmp_path / "without" / "annotations").exists()
    assert {path.relative_to(tmp_path / "with").parts[0] for path in (tmp_path / "with").rglob("*")} == {
        path.relative_to(tmp_path / "without").parts[0] for path in (tmp_path / "without").rglob("*")
    } | {"annotations"}


def test_every_kind_of_picture_is_annotated_as_it_is_shown(predict, tmp_path):
    folder = tmp_path / "kinds"
    folder.mkdir()
    grey = np.random.default_rng(0).integers(0, 255, (50, 64), np.uint8)
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(np.dstack([grey] * 4)).save(folder / "transparent.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter: shown 50 wide and 64 high
    Image.fromarray(np.dstack([grey] * 3)).save(folder / "turned.jpg", exif=exif)
    upright = Image.fromarray(np.dstack([grey] * 3)).rotate(-90, expand=True)
    upright.save(folder / "upright.png")
    done = predict(ALL, "input=kinds", "threshold.value=0.5", "output=out", "label=cat")
    assert done.code == 0, done.err
    root = tmp_path / "out" / "annotations"
    images = {image["file_name"]: image for image in json.loads((root / "coco/instances.json").read_text())["images"]}
    assert {name: (one["height"], one["width"]) for name, one in images.items()} == {
        "grey.png": (50, 64), "transparent.png": (50, 64), "turned.jpg": (64, 50), "upright.png": (64, 50)
    }  # fmt: skip
    boxes = read_boxes(root / "voc")
    assert np.abs(boxes["turned.jpg"] - boxes["upright.png"]).max() <= 2  # but for what JPEG changes
    with Image.open(root / "masks" / "turned.png") as mask:
        assert mask.size == (50, 64)


def test_networks_whose_maps_have_no_shape(predict, tmp_path):
    for name, value, why in (("zero", 0.0, "the same everywhere"), ("huge", 3e38, "not finite")):
        save(tmp_path / "a.ckpt", lambda model, value=value: torch.nn.init.constant_(model.head.linear.weight, value))
        done = predict(ALL, "threshold.value=0.0", f"output={name}", "label=cat", "overlays=false")
        assert done.code == 0, done.err
        assert (done.out + done.err).count(f"has no annotation of cat: the map is {why}") == 4
        assert "0 objects in 4 images at 0, none in 4 of them" in done.out
        root = tmp_path / name / "annotations"
        content = json.loads((root / "coco" / "instances.json").read_text())
        assert len(content["images"]) == 4 and not content["annotations"]
        assert (root / "yolo" / "labels" / "a.txt").read_text() == ""
        assert ElementTree.parse(root / "voc" / "Annotations" / "a.xml").find("object") is None
        with Image.open(root / "masks" / "sub" / "a.png") as mask:
            assert not np.asarray(mask).any()


def test_an_interrupted_run_leaves_valid_annotations_of_what_is_done(predict, tmp_path, monkeypatch):
    (tmp_path / "my photos" / "aa.jpg").write_bytes(b"no image")
    real, seen = prediction.explain_in_memory, []

    def explain(*arguments, **more):
        seen.append(arguments)
        if len(seen) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **more)

    monkeypatch.setattr(prediction, "explain_in_memory", explain)
    done = predict(ALL, "threshold.value=0.5", "batch_size=1", "output=out")
    assert done.code == 130 and "2 of 5 images are done" in done.out, done.err
    root = tmp_path / "out" / "annotations"
    coco = COCO(str(root / "coco" / "instances.json"))
    with (tmp_path / "out" / "predictions.csv").open(newline="") as file:
        names = [str(Path(row["path"]).relative_to("my photos")) for row in csv.DictReader(file)]
    assert [image["file_name"] for image in coco.dataset["images"]] == names and len(names) == 2
    assert {one["image_id"] for one in coco.dataset["annotations"]} == {1, 2}
    assert (root / "yolo" / "train.txt").read_text().splitlines() == [f"./images/{name}" for name in names]
    assert len(list((root / "voc" / "Annotations").rglob("*.xml"))) == 2
    assert not [path for path in (tmp_path / "out").rglob(".*") if path.name not in (".in_use", ".hydra", *RECORDS)]
