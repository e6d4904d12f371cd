"""Real photographs with real pretrained weights, small enough for CI; skipped where they are absent."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

import camexp
from camexp.cam import box_from_map
from tests.conftest import SHARED, run_process

CLASSES = ("butterfly", "dalmatian", "dolphin", "llama")
BOXES = SHARED / "data" / "caltech101-20-boxes.csv"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four classes, ten photographs each, at 112 pixels: a minute of training."""
    from tests.conftest import PHOTOGRAPHS, VGG16

    if not PHOTOGRAPHS.is_dir() or not VGG16.is_file():
        pytest.skip(f"no real photographs and weights at {SHARED}")
    folder = tmp_path_factory.mktemp("photographs")
    root = folder / "few"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for photograph in sorted((PHOTOGRAPHS / name).iterdir())[:10]:
            (root / name / photograph.name).symlink_to(photograph)
    llama = sorted((PHOTOGRAPHS / "llama").iterdir())[20]
    done = run_process(
        "train.py", "dataset=imagefolder", f"dataset.root={root}", "model=vgg16", f"model.weights={VGG16}",
        "transform.size=112", "model.head.channels=256", "batch_size=8", "trainer.max_epochs=3", "trainer.gpus=0",
        f"inspect.image={llama}", "inspect.label=llama", "hydra.run.dir=run", cwd=folder,
    )  # fmt: skip
    assert done.code == 0, done.err
    return folder / "run"


@pytest.mark.slow
def test_it_learns_and_its_map_moves_to_the_llama(trained):
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["best"]["val/accuracy"] >= 0.85  # of 8 photographs that it never saw
    with (trained / "cams" / "steps.csv").open() as file:
        probabilities = [float(row["probability"]) for row in csv.DictReader(file)]
    assert probabilities[0] < 0.5 < probabilities[-1]


@pytest.mark.slow
def test_heat_is_on_the_animal_in_photographs_it_never_saw(trained, photographs):
    """The peak lies in the box drawn by hand; a peak anywhere would in 63 % of the cases, the boxes' mean share of the image."""
    model = camexp.load(trained / "checkpoints" / "best.ckpt", "cpu")
    with BOXES.open() as file:
        boxes = [row for row in csv.DictReader(file) if int(row["image"][-8:-4]) > 30]
    boxes = boxes[::3]
    inside, found = 0, 0
    for row in boxes:
        name = row["image"].split("/")[0]
        with Image.open(photographs / row["image"]) as image:
            result = model.explain(model.preprocess(image)[None], name)
            cam = result.upsample((image.height, image.width))[0, 0].numpy()
        x0, y0, x1, y1 = (int(row[key]) for key in ("x0", "y0", "x1", "y1"))
        y, x = np.unravel_index(cam.argmax(), cam.shape)
        inside += x0 <= x <= x1 and y0 <= y <= y1
        found += overlap(box_from_map(cam), (x0, y0, x1, y1)) >= 0.3
    assert len(boxes) >= 15
    assert inside >= 0.9 * len(boxes)
    assert found >= 0.6 * len(boxes)


@pytest.mark.slow
def test_predict_on_photographs_of_many_sizes(trained, photographs, tmp_path):
    done = run_process(
        "predict.py", f"ckpt={trained}/checkpoints/best.ckpt", f"input={photographs}/llama/image_004*.jpg",
        "output=out", "gpus=0", cwd=tmp_path,
    )  # fmt: skip
    assert done.code == 0, done.err
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((tmp_path / "out" / "overlays").iterdir())) == 10
    assert sum(row["class"] == "llama" for row in rows) >= 7


def test_real_features_of_the_shared_weights(vgg16_weights, photographs):
    """A trunk with ImageNet weights tells classes apart without any training: nearest class mean."""
    from camexp.data import read_image
    from camexp.models import CAMClassifier, Preprocessing, load_weights

    model = CAMClassifier("vgg16", CLASSES, Preprocessing((112, 112))).eval()
    load_weights(model.trunk, str(vgg16_weights), "vgg16")
    means, held_out = [], []
    with torch.no_grad():
        for name in CLASSES:
            files = sorted((photographs / name).iterdir())[:8]
            features = model.trunk(torch.stack([model.preprocess(read_image(file)) for file in files])).mean((2, 3))
            features = features / features.norm(dim=1, keepdim=True)
            means.append(features[:5].mean(0))
            held_out.append(features[5:])
    right = sum(int((rows @ torch.stack(means).T).argmax(1).eq(label).sum()) for label, rows in enumerate(held_out))
    assert right >= 10  # of 12


@pytest.mark.slow
def test_features_that_are_kept_teach_the_same(trained):
    """The same run without the cache: its final accuracy within a point, its logits within the rounding."""
    run = trained.parent
    image = next((run / "few" / "llama").iterdir()).resolve()
    done = run_process(
        "train.py", "dataset=imagefolder", f"dataset.root={run / 'few'}", "model=vgg16",
        f"model.weights={SHARED / 'weights' / 'vgg16-imagenet-features.fp16.safetensors'}",
        "transform.size=112", "model.head.channels=256", "batch_size=8", "trainer.max_epochs=3", "trainer.gpus=0",
        f"inspect.image={image}", "hydra.run.dir=uncached", "features.cache=off", cwd=run,
    )  # fmt: skip
    assert done.code == 0, done.err
    kept, uncached = (json.loads((run / name / "summary.json").read_text()) for name in ("run", "uncached"))
    assert kept["features"]["computed"] == 40 and kept["features"]["read"] == 80 and uncached["features"] is None
    assert abs(kept["final"]["val/accuracy"] - uncached["final"]["val/accuracy"]) <= 0.01
    models = [camexp.load(run / name / "checkpoints" / "last.ckpt", "cpu", "32-true") for name in ("run", "uncached")]
    with Image.open(image) as picture:
        a, b = (model.explain(model.preprocess(picture)[None]).logits for model in models)
    assert (a - b).abs().max() < 0.1 * b.abs().max()


@pytest.mark.slow
def test_boxes_fit_the_animals(trained, photographs):
    """evaluate.py on the boxes drawn by hand: above what boxes around the whole photographs would score."""
    arguments = ["dataset=imagefolder", f"dataset.root={photographs}", "dataset.classes=[butterfly,dalmatian,dolphin]"]
    done = run_process(
        "evaluate.py", "ckpt=run/checkpoints/best.ckpt", *arguments, f"boxes={BOXES}", "output=evaluation", "gpus=0",
        cwd=trained.parent,
    )  # fmt: skip
    assert done.code == 0, done.err
    with (trained.parent / "evaluation" / "metrics.json").open() as file:
        metrics = json.load(file)
    cam = metrics["methods"]["cam"]
    assert cam["images_with_boxes"] == 150 and metrics["images_trained_on"] == 24
    assert cam["pointing_game"] > 0.9
    curves = cam["MaxBoxAccV2_by_iou"]
    with BOXES.open() as file:
        whole = []
        for row in csv.DictReader(file):
            with Image.open(photographs / row["image"]) as image:
                box = tuple(int(row[key]) for key in ("x0", "y0", "x1", "y1"))
                whole.append(overlap((0, 0, image.width - 1, image.height - 1), box))
    for iou, share in curves.items():
        assert share > np.mean([one >= float(iou) for one in whole])


def overlap(one, other):
    if one is None:
        return 0.0
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    shared = max(width, 0) * max(height, 0)
    area = sum((box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other))
    return shared / (area - shared)
