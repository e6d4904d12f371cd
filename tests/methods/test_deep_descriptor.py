"""DDT against NumPy's singular value decomposition of all descriptors of a class."""

from __future__ import annotations

import csv
import json
import signal

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from camexp.config import CAMOptions
from camexp.errors import UserError
from camexp.images import read_image
from camexp.methods import build_method, deep_descriptor, forward_pass, observer, of_pass
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import paint


@pytest.fixture
def model() -> CAMClassifier:
    torch.manual_seed(0)
    head = {"channels": 32, "init_std": 0.2}
    return CAMClassifier("vgg11", list("abcdef"), Preprocessing((64, 64)), width=1 / 8, head=head).eval()


def by_svd(features: list[np.ndarray], cams: list[np.ndarray]) -> list[np.ndarray]:
    """Projections of each ``(D, h, w)`` on the first right singular vector of all of them, signed by all CAMs."""
    places = np.concatenate([one.reshape(len(one), -1).astype(np.float64) for one in features], 1).T
    mean = places.mean(0)
    component = np.linalg.svd(places - mean, full_matrices=False)[2][0]
    weights = np.concatenate([one.ravel().astype(np.float64) for one in cams])
    component = component * np.sign(np.cov((places - mean) @ component, weights)[0, 1])
    return [np.einsum("dhw,d->hw", one.astype(np.float64) - mean[:, None, None], component) for one in features]


def test_it_is_the_component_of_all_images_of_the_class(model):
    """Batch by batch, of several classes, of images of two sizes."""
    generator = torch.Generator().manual_seed(3)
    groups = [torch.randn(3, 3, 64, 96, generator=generator), torch.randn(2, 3, 96, 64, generator=generator)]
    labels = [[[0, 1], [1, 2], [0, 2]], [[0, 1], [2, 0]]]
    method = build_method(CAMOptions(method="ddt"))
    observe = observer(method)
    passes = [forward_pass(model, images) for images in groups]
    for seen, own in zip(passes, labels, strict=True):
        observe(model, seen, own)
    found = [of_pass(method).of(model, seen, own) for seen, own in zip(passes, labels, strict=True)]
    for label in (0, 1, 2):
        places = [
            (b, i, own.index(label)) for b, rows in enumerate(labels) for i, own in enumerate(rows) if label in own
        ]
        cams = [model.explain(groups[b][i][None], label).maps[0, 0].numpy() for b, i, _ in places]
        expected = by_svd([passes[b].features[i].numpy() for b, i, _ in places], cams)
        for (b, i, k), one in zip(places, expected, strict=True):
            assert np.abs(found[b].maps[i, k].numpy() - one).max() < 1e-4 * np.abs(one).max()
    assert found[0].maps.dtype == torch.float32 and found[1].maps.shape == (2, 2, 6, 4)
    assert torch.allclose(found[0].logits, model.explain(groups[0]).logits, atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "bf16-true", "32-true"])
def test_every_precision(model, precision):
    model.optimise_for("cpu", precision)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    method = build_method(CAMOptions(method="ddt", affinity="auto", negatives="clamp_map"))
    seen = forward_pass(model, images)
    observer(method)(model, seen, "predicted")
    maps = method(model, images, "predicted").maps
    assert maps.shape == (4, 1, 8, 8) and maps.isfinite().all() and maps.min() >= 0


def test_an_image_that_is_not_finite_spoils_no_other(model):
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    method, alone = build_method(CAMOptions(method="ddt")), build_method(CAMOptions(method="ddt"))
    seen = forward_pass(model, images)
    observer(alone)(model, seen.take([0, 1]), [0])
    seen.features[2, 0, 0, 0] = torch.inf
    observer(method)(model, seen, [0])
    assert torch.equal(
        of_pass(method).of(model, seen.take([0, 1]), [0]).maps, of_pass(alone).of(model, seen.take([0, 1]), [0]).maps
    )


def test_what_cannot_be_is_one_sentence(model, monkeypatch):
    method = build_method(CAMOptions(method="ddt"))
    with pytest.raises(UserError, match="cam=ddt has not seen the images of that class"):
        method(model, torch.zeros(1, 3, 64, 64), [0])
    monkeypatch.setattr(deep_descriptor, "MOST_BYTES", 2 * 64**2 * 8)
    with pytest.raises(
        UserError, match=r"cam=ddt: 3 classes of 64² moments are more than .* GB: ask for fewer classes"
    ):
        observer(method)(model, forward_pass(model, torch.zeros(1, 3, 64, 64)), "all")


def test_predict_and_evaluate_look_twice(script, model, tmp_path):
    for name in "ab":
        for number in range(4):
            paint(
                tmp_path / "photos" / name / f"{number}.png",
                (200 if name == "a" else 40, 90, 60),
                (70 + number, 60),
                number,
            )
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    done = script(
        "predict.py", "ckpt=a.ckpt", "input=photos", "output=out", "cam=ddt", "label=1", "precision=32-true", "gpus=0"
    )
    assert done.code == 0, done.err
    assert sorted(row["reason"] for row in csv.DictReader((tmp_path / "out" / "skipped.csv").open())) != []
    images = [model.preprocess(read_image(path)) for path in sorted((tmp_path / "photos").rglob("?.png"))]
    seen = [forward_pass(model, image[None]) for image in images]
    cams = [model.explain(image[None], 1).maps[0, 0].numpy() for image in images]
    expected = by_svd([one.features[0].numpy() for one in seen], cams)
    maps = [loadmat(path)["maps"][0] for path in sorted((tmp_path / "out" / "maps").iterdir())]
    assert len(maps) == 8
    for one, other in zip(expected, maps, strict=True):
        assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()
    rows = "".join(f"{name}/{number}.png,10,10,40,40\n" for name in "ab" for number in range(4))
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\n" + rows)
    (tmp_path / "photos" / "broken.png").unlink()
    common = ("ckpt=a.ckpt", "dataset=imagefolder", "dataset.root=photos", "boxes=boxes.csv", "num_workers=0", "gpus=0")
    done = script("evaluate.py", *common, "cam=cam,ddt", "output=measured")
    assert done.code == 0, done.err
    first = json.loads((tmp_path / "measured" / "metrics.json").read_text())["methods"]
    assert list(first) == ["cam", "ddt"]
    done = script("evaluate.py", *common, "cam=ddt", "features.cache=off", "output=again", "batch_size=3")
    assert done.code == 0, done.err
    again = json.loads((tmp_path / "again" / "metrics.json").read_text())["methods"]["ddt"]
    assert again["MaxBoxAccV2"] == pytest.approx(first["ddt"]["MaxBoxAccV2"], abs=0.15)


@pytest.mark.parametrize("name", ["train.py"])
def test_image_by_image_it_cannot_be(script, name):
    done = script(name, "dataset=shapes", "dataset.per_class=4", "dataset.size=64", "model=vgg11", "model.width=0.0625",
                  "model.weights=null", "model.freeze=none", "transform.size=32", "cam=ddt", "trainer.gpus=0")  # fmt: skip
    assert done.code == 1 and "cam=ddt has to see all images of a class before the first map" in done.err


def test_interrupted_at_the_first_look_no_map_is_made(script, model, tmp_path, monkeypatch):
    for number in range(6):
        paint(tmp_path / "photos" / f"{number}.png", (200, 90, 60), seed=number)
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    observe = deep_descriptor.DDT.observe

    def interrupted(self, *arguments):
        observe(self, *arguments)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(deep_descriptor.DDT, "observe", interrupted)
    done = script("predict.py", "ckpt=a.ckpt", "input=photos", "output=out", "cam=ddt", "batch_size=2", "gpus=0")
    assert done.code == 130 and "stopped by" in done.out and "0 of 6 images are done" in done.out, (done.out, done.err)
    assert not (tmp_path / "out" / "maps").exists()
