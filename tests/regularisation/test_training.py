"""Methods of training in whole runs: any precision, two processes, interrupted and resumed."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import pytest
import torch

import camexp
from tests.conftest import TINY, run_process
from tests.training.conftest import trip
from tests.training.test_every_precision import frozen  # noqa: F401  (a fixture)

METHODS = {
    "has": ("regularise=has", "regularise.patches=[8,16]"),
    "has on features": ("regularise=has", "regularise.where=features", "regularise.patches=[16]"),
    "cutmix": ("regularise=cutmix",),
    "cutmix on features": ("regularise=cutmix", "regularise.where=features"),
    "adl": ("regularise=adl",),
    "bridging_gap": ("regularise=bridging_gap",),
    "da_wsol": ("regularise=da_wsol", "regularise.samples=2"),
}
STORED = ("has on features", "cutmix on features", "adl", "bridging_gap", "da_wsol")
SIZE = "transform.size=64"  # 4×4 places


def losses(folder: str, *names: str) -> list[list[float]]:
    with Path(folder, "metrics.csv").open(newline="") as file:
        return [[float(row[name] or "nan") for name in names] for row in csv.DictReader(file)]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_frozen_trunks_features_are_stored_where_the_method_allows(script, frozen, name):  # noqa: F811
    done = script("train.py", *frozen, *METHODS[name], SIZE, "hydra.run.dir=one", "trainer.max_epochs=3")
    assert done.code == 0, done.err
    features = json.loads(Path("one/summary.json").read_text())["features"]
    if name in STORED:
        assert features["computed"] == 24 and features["read"] > 24
    else:
        assert features is None
        assert "not stored, because regularise changes what passes the trunk" in done.out + done.err
    # what was trained with a method is a network like any other
    assert camexp.load("one/checkpoints/best.ckpt", "cpu").classes == ("blue", "green", "red")


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
@pytest.mark.parametrize("name", ["adl", "bridging_gap", "da_wsol", "has", "cutmix", "cutmix on features"])
def test_any_precision_trains(script, colours, name, precision):
    options = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, *METHODS[name], SIZE, f"precision={precision}")
    more = ("logger=csv", "inspect.every_n_steps=0", "trainer.log_every_n_steps=1", "hydra.run.dir=one")
    done = script("train.py", *options, *more)
    assert done.code == 0, done.err
    told = [row[0] for row in losses("one", "train/regularise")]
    assert any(value == value and value != 0 for value in told) == (name in ("bridging_gap", "da_wsol"))
    state = torch.load("one/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    kept = [key for key in state if key.startswith("regulariser.")]
    assert bool(kept) == (name == "da_wsol")
    assert all(state[key].dtype != torch.bfloat16 for key in kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["has", "da_wsol", *(pytest.param(name, marks=pytest.mark.long) for name in ("adl", "bridging_gap"))]
)
def test_two_processes_do_what_one_does(tmp_path, colours, name):
    # of 18 images the last batch has 2, one a process
    options = (
        "dataset=imagefolder", f"dataset.root={colours}", *TINY, *METHODS[name], SIZE, "batch_size=16", "logger=csv",
        "precision=32-true", "trainer.log_every_n_steps=1", "inspect.every_n_steps=0", "optimizer.lr=1e-3",
        "split.val_fraction=0.25", "report=false",
    )  # fmt: skip
    curves = []
    for number, more in (("one", ()), ("two", ("trainer=ddp_cpu",))):
        done = run_process("train.py", *options, *more, f"hydra.run.dir={number}", cwd=tmp_path)
        assert done.code == 0, done.err
        curves.append(losses(str(tmp_path / number), "train/loss", "train/regularise", "val/loss"))
    assert len(curves[0]) == len(curves[1]) >= 4
    for one, two in zip(*curves, strict=True):
        assert one == pytest.approx(two, rel=1e-3, abs=1e-4, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cutmix", "da_wsol"])
def test_an_interrupted_run_resumes_exactly(script, colours, name):
    options = (
        "dataset=imagefolder", f"dataset.root={colours}", *TINY, *METHODS[name], SIZE, "precision=32-true",
        "logger=csv", "inspect.every_n_steps=0", "report=false", "trainer.max_epochs=null",
    )  # fmt: skip
    # schedules and methods count in shares of max_steps: the first is ended by a callback, not by another end
    whole = script("train.py", *options, "trainer.max_steps=6", "hydra.run.dir=whole")
    assert whole.code == 0, whole.err
    stop = trip(4, "on_train_batch_end", signal.SIGTERM)
    cut = script("train.py", *options, "trainer.max_steps=6", "hydra.run.dir=cut", stop)
    assert cut.code != 0
    resumed = script("train.py", *options, "trainer.max_steps=6", "hydra.run.dir=cut", "resume=auto")
    assert resumed.code == 0, resumed.err
    one, two = (
        torch.load(f"{name}/checkpoints/last.ckpt", weights_only=True)["state_dict"] for name in ("whole", "cut")
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize("options, message", [
    (("regularise=adl", "regularise.drop_rate=2"), "regularise.drop_rate=2 is out of range: expected 0 to 1"),
    (("regularise=adl", "regularise.layers=[conv9]"), "regularise.layers=conv9 is no layer of this trunk"),
    (("regularise=da_wsol", "regularise.samples=1"), "regularise.samples=1 is out of range"),
    (("regularise=has", "+regularise.patch=3"), "regularise.patch is no argument of HideAndSeek: did you mean patches"),
    (("regularise=acol",), "regularise=acol"),
])  # fmt: skip
def test_bad_input_is_one_sentence(script, colours, options, message):
    done = script("train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, *options)
    assert done.code == 1 and message in done.err and "Traceback" not in done.err, done.err
