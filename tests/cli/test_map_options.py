"""What the ``cam`` group says of maps, and the preset that recommends some, in each command."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

import camexp
from camexp.cam import Normalisation, colour_map, upsample
from camexp.cli.presets import preset_arguments
from camexp.images import read_image
from camexp.models import CAMClassifier
from tests.conftest import TINY

SHAPES = ("dataset=shapes", "dataset.per_class=6", "dataset.size=64", *TINY, "trainer.max_epochs=1")
CKPT = "ckpt=run/checkpoints/best.ckpt"


@pytest.fixture
def trained(script, tmp_path):
    """A tiny network trained on a few shapes, and one of its images."""
    assert script("train.py", *SHAPES, "hydra.run.dir=run").code == 0
    image = tmp_path / "one.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)).save(image)
    return image


@pytest.mark.parametrize("normalise", ["max", "percentile", "ivr"])
def test_pictures_show_the_normalised_map_and_files_keep_the_raw_one(script, trained, tmp_path, normalise):
    for name, options in (("plain", []), ("other", [f"cam.normalise={normalise}"])):
        done = script(
            "predict.py", CKPT, f"input={trained}", "label=0", f"output={name}", "alpha=1", "npz=true", *options
        )
        assert done.code == 0, done.err
    plain, other = (loadmat(tmp_path / name / "maps" / "one.mat") for name in ("plain", "other"))
    assert np.array_equal(plain["maps"], other["maps"])
    assert plain["made"][0] == "Raw maps of cam" and other["made"][0].startswith("Raw maps of cam; each shown from ")
    assert str(np.load(tmp_path / "other" / "maps" / "one.npz")["made"]) == other["made"][0]
    (overlay,) = (tmp_path / "other" / "overlays").iterdir()
    heat = Image.open(overlay)
    assert heat.text["Description"] == other["made"][0]
    large = upsample(torch.from_numpy(other["maps"])[None], (60, 80))[0, 0]
    levels = (Normalisation(normalise)(large).numpy() * 255 + 0.5).astype(int)
    assert np.abs(np.asarray(heat).astype(int) - colour_map()[levels].astype(int)).mean() < 0.5  # rounding moves a few
    assert not np.array_equal(
        np.asarray(heat), np.asarray(Image.open(next((tmp_path / "plain" / "overlays").iterdir())))
    )
    page = (tmp_path / "other" / "report.html").read_text()
    assert '"limits":[[' in page and '"scale":"map"' in page
    assert '"limits"' not in (tmp_path / "plain" / "report.html").read_text()


def test_negatives_are_cut_in_the_files_too(script, trained, tmp_path):
    for name in ("keep", "clamp_map", "clamp_weights"):
        assert (
            script("predict.py", CKPT, f"input={trained}", "label=all", f"output={name}", f"cam.negatives={name}").code
            == 0
        )
    keep, clamped, weights = (
        loadmat(tmp_path / name / "maps" / "one.mat")["maps"] for name in ("keep", "clamp_map", "clamp_weights")
    )
    assert keep.min() < 0 and np.array_equal(clamped, keep.clip(min=0))
    assert weights.min() >= 0 and (weights >= keep - 1e-5).all()


def test_thresholds_are_of_the_normalised_map(script, trained, tmp_path):
    """Against maps that NumPy normalised, measured as anybody's."""
    model = camexp.load("run/checkpoints/best.ckpt", "cpu")
    root = next((tmp_path / "outputs" / "data" / "shapes").glob("*/images"))
    for path in root.rglob("*.jpg"):
        cam = upsample(model.explain(model.preprocess(read_image(path))[None], path.parent.name).maps, (224, 224))
        low, high = np.percentile(cam, 40), float(cam.max())
        target = tmp_path / "theirs" / path.relative_to(root).with_suffix(".npy")
        target.parent.mkdir(parents=True, exist_ok=True)
        np.save(target, ((cam[0, 0].numpy() - low) / (high - low)).clip(0, 1))
    common = (CKPT, "part=all", "num_workers=0", "precision=32-true", "report=false")
    assert script("evaluate.py", *common, "output=ours", "cam.normalise=ivr", "cam.percentile=40").code == 0
    assert script("evaluate.py", *common, "output=theirs_out", "heatmaps=theirs").code == 0
    assert script("evaluate.py", *common, "output=plain").code == 0
    ours, theirs, plain = (
        json.loads((tmp_path / name / "metrics.json").read_text())["methods"][method]
        for name, method in (("ours", "cam"), ("theirs_out", "heatmaps"), ("plain", "cam"))
    )
    for key in ("MaxBoxAcc", "MaxBoxAccV2", "PxAP", "PxIoU", "pointing_game"):
        assert ours[key] == pytest.approx(theirs[key], abs=0.021), key
    assert abs(ours["PxAP"] - plain["PxAP"]) > 1e-4


def test_the_preset_recommends_its_maps(script, trained, tmp_path, monkeypatch):
    passes = []
    outputs = CAMClassifier.trunk_outputs
    monkeypatch.setattr(
        CAMClassifier, "trunk_outputs",
        lambda self, images, *rest, **more: passes.append(len(images)) or outputs(self, images, *rest, **more),
    )  # fmt: skip
    done = script("evaluate.py", CKPT, "experiment=localise", "output=out", "num_workers=0")
    assert done.code == 0, done.err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics["methods"]) == ["pc1"] and metrics["cam"]["affinity"] == "auto"
    assert sum(passes) == metrics["images"]  # CAM, PC1 and the affinities of one pass
    done = script("predict.py", CKPT, f"input={trained}", "experiment=localise", "output=own", "cam=cam")
    assert (
        done.code == 0 and loadmat(tmp_path / "own" / "maps" / "one.mat")["made"][0] == "Raw maps of cam, affinity=auto"
    )


def test_the_inspected_image_is_shown_so_too(script, tmp_path):
    options = ("cam=pc1", "cam.affinity=conv4_2", "cam.normalise=ivr")
    assert script("train.py", *SHAPES, *options, "hydra.run.dir=run").code == 0
    maps = np.load(next((tmp_path / "run" / "cams").glob("step_*.npy")))
    assert maps.shape == (1, 4, 4)  # of 32 pixels: twice the resolution of the activations
    assert '"limits":[[' in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["experiment=modern"],
            r"experiment=modern recommends no maps, and nothing is trained here: leave it out, .*localise",
        ),
        (["experiment=localize"], r"experiment=localize is not a preset: did you mean localise\?"),
        (["cam.affinity=conv9_9"], r"cam.affinity=conv9_9 is no layer of this trunk: did you mean conv"),
        (["cam=pc1", "cam.negatives=clamp_weights"], r"cam.negatives=clamp_weights: pc1 does not weigh .*take cam=cam"),
        (["cam.percentile=10"], r"cam.percentile=10 is of cam.normalise=percentile and ivr, not of minmax"),
    ],
)
def test_bad_options_are_one_sentence(script, trained, tmp_path, arguments, said):
    for name, more in (("predict.py", [f"input={trained}"]), ("evaluate.py", ["num_workers=0"])):
        done = script(name, CKPT, "output=bad", *more, *arguments)
        assert done.code == 1 and not (tmp_path / "bad" / "predictions.csv").exists()
        assert re.fullmatch(rf"(?s).*error: {said}.*", done.err.strip()), done.err
        assert "Traceback" not in done.err


def test_a_preset_stands_behind_the_command_line_wherever_it_stands():
    """What Hydra makes of the overrides is the last of each key."""
    for given in (["cam.affinity=conv3_1", "cam=cam"], ["cam=cam", "cam.affinity=conv3_1"]):
        for arguments in (["experiment=localise", *given], [*given, "experiment=localise"]):
            config = dict(one.split("=", 1) for one in preset_arguments("predict", arguments))
            assert config == {"cam": "cam", "cam.affinity": "conv3_1"}
            assert sum(one.startswith("cam=") for one in preset_arguments("predict", arguments)) == 1
    assert preset_arguments("train", ["experiment=localise"]) == ["experiment=localise"]
