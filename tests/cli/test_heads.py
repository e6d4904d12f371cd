"""Heads and trunks of other kinds, from training to evaluation, as their user runs them."""

import json
from pathlib import Path

import pytest
import torch
from scipy.io import loadmat

import camexp
from tests.conftest import TINY

SMALL = ("transform.size=32", "batch_size=8", "num_workers=0", "trainer.gpus=0", "trainer.max_steps=2", "report=false")
VIT = ("model=vit", "model.name=test_vit")


@pytest.fixture
def run(script, colours):
    """Training in two steps, prediction and evaluation; the network that came of it."""

    def call(*options):
        images = ("dataset=imagefolder", f"dataset.root={colours}")
        done = script("train.py", *images, *SMALL, *options, "hydra.run.dir=run")
        assert done.code == 0, done.err
        call.stored = bool(list(Path("outputs/features").glob("*")))  # by the training; an evaluation stores its own
        ckpt = "ckpt=run/checkpoints/last.ckpt"
        done = script("predict.py", ckpt, f"input={colours / 'red'}", "label=all", "output=maps", "num_workers=0")
        assert done.code == 0, done.err
        done = script("evaluate.py", ckpt, "output=figures", "num_workers=0", "report=false")
        assert done.code == 0, done.err
        assert json.loads(Path("figures/metrics.json").read_text())["methods"]["cam"]["top1"] >= 0
        return camexp.load("run/checkpoints/last.ckpt", "cpu")

    return call


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["tap", "attention"])
def test_another_pooling_all_the_way(run, pool):
    model = run(*TINY, f"model.head.pool={pool}", "trainer.max_epochs=null")
    assert model.head.pool == pool and not model.head.mean_is_logit
    made = loadmat("maps/maps/red_0.mat")["made"]
    assert f"of a head with {pool} pooling" in str(made)
    page = Path("maps/report.html").read_text(encoding="utf-8")
    assert '"identity":false' in page and model.head.tie in page


@pytest.mark.slow
def test_two_layers_with_stored_features(run, tmp_path):
    trunk = camexp.models.build_trunk("vgg11", 1 / 16)
    torch.save({f"features.{key}": value for key, value in trunk.features.state_dict().items()}, tmp_path / "w.pth")
    model = run(
        *TINY, f"model.weights={tmp_path / 'w.pth'}", "model.freeze=trunk", "model.out_layers=[conv4_2,conv5_2]",
        "trainer.max_epochs=null",
    )  # fmt: skip
    assert model.trunk.stride == 8 and run.stored
    assert loadmat("maps/maps/red_0.mat")["maps"].shape == (3, 4, 4)


@pytest.mark.slow
@pytest.mark.parametrize("freeze", ["trunk", "blocks.1", "none"])
def test_a_vision_transformer_all_the_way(run, tmp_path, freeze):
    timm = pytest.importorskip("timm")
    torch.save(
        {"teacher": {f"backbone.{k}": v for k, v in timm.create_model("test_vit").state_dict().items()}}, "w.pth"
    )
    head = ("model.head=gap",) if freeze == "trunk" else ("model.head.channels=8",)
    model = run(*VIT, f"model.weights={Path('w.pth').absolute()}", f"model.freeze={freeze}", *head)
    assert model.trunk.out_channels == 64
    assert run.stored == (freeze == "trunk")
    assert loadmat("maps/maps/red_0.mat")["maps"].shape == (3, 2, 2)
    assert '"identity":true' in Path("maps/report.html").read_text(encoding="utf-8") or freeze == "trunk"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["model.head.pool=max"], "model.head.pool=max is not known: expected one of gap, tap, lse, gem, attention"),
        (["model.head.gem_p=2.5"], "model.head.gem_p=2.5 is of model.head.pool=gem, not of gap"),
        (["model.out_layers=conv5_2"], "model.out_layers=conv5_2 is not a list of layers"),
        (["model.out_layers=[conv9_1]"], "model.out_layers=conv9_1 is no layer of this trunk"),
        (["model.head=gap", "model.head.pool=tap"], "model.head.pool cannot be set beside model.head=…"),
    ],
)
def test_what_does_not_fit_is_one_sentence(script, colours, options, said):
    done = script("train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, *options)
    assert done.code == 1 and said in done.err and "Traceback" not in done.err
    assert len([line for line in done.err.splitlines() if line.strip()]) == 1, done.err
