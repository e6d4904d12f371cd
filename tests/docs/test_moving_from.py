"""The numbers of the pages for those who come from elsewhere (their snippets run in test_snippets.py)."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from scipy.io import loadmat

from camexp.config import flat
from tests.conftest import ROOT
from tests.docs.blocks import Command
from tests.docs.running import run
from tests.test_configs import CONF

PAGES = ROOT / "docs" / "moving-from"
SCRIPT = (PAGES / "tensorflow-script.md").read_text(encoding="utf-8")
IMAGES, BATCH, EPOCHS = 30607, 32, 25  # Caltech-256 and the script


def recipe() -> dict[str, object]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return flat(OmegaConf.to_container(compose("train", ["experiment=recipe", "run_dir=run"]), resolve=True))


def test_every_hyperparameter_is_the_recipes():
    config = recipe()
    table = "\n".join(line for line in SCRIPT.splitlines() if line.startswith("|"))
    said = [
        (k, v)
        for k, v in re.findall(r"`([\w.]+)=([^` ]+(?: [\d.]+\])?)`", table)
        if v not in ("FILE", "RUN", "recipe", "NAME`")
    ]
    assert len(said) >= 15
    for key, value in said:
        if key == "scheduler":
            assert value == "constant" and not any(one.startswith("scheduler.") for one in config)
        else:
            assert str(config[key]).lower() == value, key


def test_the_learning_rate_does_not_change():
    from camexp.config.instantiate import instantiate

    config = recipe()
    weights = [torch.nn.Parameter(torch.ones(1))]
    optimizer = instantiate(
        {"_target_": config["optimizer._target_"], "lr": config["optimizer.lr"], "betas": [0.5, 0.999]}, "optimizer",
        params=weights,
    )  # fmt: skip
    assert isinstance(optimizer, torch.optim.Adam)
    # two steps of Adam with β₁ 0.5 by hand; the gradient is 2, then 1
    (2 * weights[0]).backward()
    optimizer.step()
    optimizer.zero_grad()
    weights[0].backward()
    optimizer.step()
    expected, first, second = 1.0, 0.0, 0.0
    for step, gradient in enumerate((2.0, 1.0), 1):
        first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
        expected -= 1e-3 * (first / (1 - 0.5**step)) / (math.sqrt(second / (1 - 0.999**step)) + 1e-8)
    assert weights[0].item() == pytest.approx(expected, abs=1e-6)


def test_the_numbers_of_steps():
    steps = math.ceil(IMAGES / BATCH)
    assert f"{steps} steps an epoch, {steps * EPOCHS:,} in all and {steps * EPOCHS // 100} checkpoints" in SCRIPT
    assert f"{IMAGES:,} images" in SCRIPT


def test_the_penalty_and_the_initial_weights():
    from camexp.models import CAMHead

    torch.manual_seed(0)
    head = CAMHead(512, 257)
    by_hand = (
        0.01 * 0.5 * sum(w.detach().double().square().sum().item() for w in (head.conv_cam.weight, head.linear.weight))
    )
    assert head.l2_penalty().item() == pytest.approx(by_hand, rel=1e-5)
    assert head.linear.bias is None and head.conv_cam.weight.shape == (1024, 512, 3, 3)
    # a normal distribution cut at 2σ has 0.8796 of its standard deviation (Johnson, Kotz and Balakrishnan, 13.10)
    cut = 2 * math.exp(-2) / math.sqrt(2 * math.pi) * 2 / math.erf(math.sqrt(2))
    assert head.conv_cam.weight.std().item() == pytest.approx(0.01 * math.sqrt(1 - cut), rel=1e-2)
    assert head.conv_cam.weight.abs().max().item() <= 0.02


@pytest.mark.slow
def test_matlab_finds_what_the_page_says(prepared, tmp_path, monkeypatch):
    import camexp
    from camexp.images import read_image

    monkeypatch.chdir(prepared)
    given = ("ckpt=best.ckpt", "input=photo.jpg", "label=llama", "mat.upsampled=true", f"output={tmp_path / 'out'}")
    assert run(Command("predict", (*given, "precision=32-true")), prepared) == 0
    content = loadmat(tmp_path / "out/maps/photo.mat")
    model = camexp.load("best.ckpt", "cpu", "32-true")
    photo = read_image("photo.jpg")
    result = model.explain(model.preprocess(photo)[None], "llama")
    assert np.allclose(content["maps"], result.maps[0], atol=1e-4 * float(result.maps.abs().max()))
    assert content["upsampled"].shape == (1, photo.height, photo.width)
    assert content["maps"].mean() == pytest.approx(float(result.logits[0, model.classes.index("llama")]), rel=1e-3)
