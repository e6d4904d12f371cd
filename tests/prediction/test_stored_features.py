"""Predictions on stored features: those of training are read, and a second one computes no trunk again."""

from __future__ import annotations

import csv

import pytest
from safetensors.torch import save_file

from camexp.models import CAMClassifier
from camexp.models.trunks import build_trunk
from tests.conftest import TINY
from tests.prediction.conftest import results

CACHE = "features.cache=kept"


@pytest.fixture
def without_trunk(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the trunk computes")

    return lambda: monkeypatch.setattr(CAMClassifier, "trunk_features", refuse)


def test_a_second_prediction_computes_no_trunk(script, ready_to_predict, tmp_path, without_trunk):
    first = script("predict.py", *ready_to_predict, "output=first", CACHE)
    assert first.code == 0 and "stored in kept" in first.out, first.err
    without_trunk()
    assert script("predict.py", *ready_to_predict, "output=second", CACHE).code == 0
    assert results(tmp_path / "second") == results(tmp_path / "first")
    other = [one for one in ready_to_predict if not one.startswith("label=")]
    for more in (("label=all",), ("cam.normalise=max",), ("cam=pc1",)):
        done = script("predict.py", *other, f"output={more[0]}", CACHE, *more)
        assert done.code == 0, done.err
    assert script("predict.py", *ready_to_predict, "output=none").code == 1  # off is the default


def test_it_rounds_no_more_than_float16(script, ready_to_predict, tmp_path):
    def probabilities(*more: str) -> list[float]:
        assert script("predict.py", *ready_to_predict, f"output={len(more)}", *more).code == 0
        with (tmp_path / str(len(more)) / "predictions.csv").open(newline="") as file:
            return [float(row["probability"]) for row in csv.DictReader(file)]

    assert probabilities(CACHE) == pytest.approx(probabilities(), abs=1e-4)


@pytest.mark.slow
def test_what_training_stored_is_read(script, colours, tmp_path, without_trunk):
    weights = tmp_path / "weights.safetensors"
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), weights)
    given = [one for one in TINY if not one.startswith(("model.weights", "model.freeze"))]
    done = script("train.py", "dataset=imagefolder", f"dataset.root={colours}", *given, CACHE, "hydra.run.dir=run",
                  f"model.weights={weights}", "model.freeze=trunk", "report=false")  # fmt: skip
    assert done.code == 0, done.err
    without_trunk()
    done = script("predict.py", "ckpt=run/checkpoints/best.ckpt", f"input={colours}", "output=out", CACHE, "gpus=0",
                  "num_workers=0")  # fmt: skip
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("cam=gradcam",), "features.cache=kept is of cam=cam and cam=pc1"),
        (("cam.flip=true",), "features.cache=kept is of cam=cam and cam=pc1"),
        (("resize=null",), "features.cache=kept with resize=null: give a size"),
    ],
)
def test_what_needs_more_than_features(script, ready_to_predict, more, sentence):
    done = script("predict.py", *ready_to_predict, "output=out", CACHE, *more)
    assert done.code == 1 and sentence in done.err, done.err
