"""Every number format does every job, on any processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camexp.features.batches import Batch
from camexp.features.cache import FeatureCache
from camexp.features.fingerprint import describe_trunk, fingerprint
from camexp.models import CAMClassifier, Preprocessing
from camexp.models.trunks import build_trunk
from camexp.precision import autocast
from tests.conftest import TINY
from tests.training.precisions import EVERY


@pytest.fixture
def frozen(tmp_path: Path, colours: Path) -> list[str]:
    """Options of a tiny network with pretrained, frozen convolutions."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), weights)
    given = [one for one in TINY if not one.startswith(("model.weights", "model.freeze"))]
    return [
        *given, f"model.weights={weights}", "model.freeze=trunk", "dataset=imagefolder", f"dataset.root={colours}",
        "features.cache=kept", "logger=csv", "inspect.every_n_steps=0",
    ]  # fmt: skip


def read(folder: str, name: str = "summary.json") -> dict:
    return json.loads(Path(folder, name).read_text())


@pytest.mark.parametrize("precision", EVERY)
def test_train_resume_predict_evaluate(script, frozen, precision):
    """Batches that are stored in part come from the mirrored views, and from the limit to the store's size."""
    options = [*frozen, "transform=flip", f"precision={precision}"]
    done = script("train.py", *options, "hydra.run.dir=one", "trainer.max_epochs=3")
    assert done.code == 0, done.err
    assert read("one")["features"]["read"] > 0 and read("one")["features"]["computed"] > 24
    # gone on with, at the very same precision and at another one
    for number, other in enumerate((precision, "32-true"), 4):
        more = [*options[:-1], f"precision={other}", "hydra.run.dir=one", "resume=auto"]
        done = script("train.py", *more, f"trainer.max_epochs={number}")
        assert done.code == 0, done.err
    done = script("train.py", *options, "features.max_gb=3e-6", "features.cache=small", "hydra.run.dir=two")
    assert done.code == 0 and "features.max_gb=3e-06 is reached" in done.out + done.err, done.err

    image = next(Path("colours").rglob("*.png"))
    ckpt = "ckpt=one/checkpoints/best.ckpt"
    done = script("predict.py", ckpt, f"input={image}", f"precision={precision}", "output=predicted", "gpus=0")
    assert done.code == 0 and Path("predicted/predictions.csv").is_file(), done.err
    done = script(
        "evaluate.py", ckpt, f"precision={precision}", "cam=cam,gradcam", "output=measured", "gpus=0", "num_workers=0"
    )
    assert done.code == 0, done.err
    assert set(read("measured", "metrics.json")["methods"]) == {"cam", "gradcam"}


@pytest.mark.parametrize("precision", EVERY)
def test_batch_norm_trains(script, colours, precision):
    options = [one for one in TINY if not one.startswith("model=")]
    more = ("model=vgg11_bn", "dataset=imagefolder", f"dataset.root={colours}", "logger=csv", "inspect.every_n_steps=0")
    done = script("train.py", *options, *more, f"precision={precision}", "hydra.run.dir=one")
    assert done.code == 0, done.err
    assert read("one")["features"] is None


def network(precision: str) -> CAMClassifier:
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b"], Preprocessing((64, 64)), width=1 / 16, head={"channels": 8})
    model.freeze("trunk")
    model.optimise_for("cpu", precision)
    return model.eval()


def batch(images: torch.Tensor, names: list[str], cache: FeatureCache) -> Batch:
    """As a data loader hands it over: what is stored is read."""
    found = [cache.store.read(name) for name in names]
    there = torch.tensor([one is not None for one in found])
    stored = [one for one in found if one is not None]
    count = torch.arange(len(names))
    missing = tuple(name for name, one in zip(names, found, strict=True) if one is None)
    return Batch(images[~there], count, count, torch.stack(stored) if stored else None, there, missing)


@pytest.mark.parametrize("precision", EVERY)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_batch_that_is_stored_in_part_is_the_same_batch(tmp_path, precision, dtype):
    model = network(precision)
    images, names = torch.randn(14, 3, 64, 64), [f"{number:04d}" for number in range(14)]

    def opened(folder: str) -> FeatureCache:
        return FeatureCache(tmp_path / folder, describe_trunk(model, dtype, "cpu"), 1)

    def complete(cache: FeatureCache) -> torch.Tensor:
        loaded = batch(images, names, cache)
        with autocast(model.precision, "cpu"):  # as Lightning's step has it
            return cache.trunk_features(loaded, model)

    cache = opened("whole")
    whole = complete(cache)
    assert whole.dtype == model.dtype and cache.computed == 14
    cache = opened("part")
    few = [3, 4, 9]
    cache.put([names[number] for number in few], cache.to_stored(whole[few]))
    assert torch.equal(complete(cache), whole)
    assert torch.equal(complete(cache), whole), "all of it read"
    assert (cache.computed, cache.read) == (3 + 11, 3 + 14)


def test_only_what_is_missing_goes_through_the_trunk(tmp_path, monkeypatch):
    model = network("32-true")
    images, names = torch.randn(14, 3, 64, 64), [f"{number:04d}" for number in range(14)]
    cache = FeatureCache(tmp_path, describe_trunk(model, "float16", "cpu"), 1)
    some = [place for place in range(14) if place != 5]
    cache.put([names[place] for place in some], cache.to_stored(model.trunk_features(images)[some]))
    passed = []
    monkeypatch.setattr("camexp.models.threads.MICRO_BATCH_PIXELS", 2 * 64 * 64)
    model.trunk.register_forward_hook(lambda trunk, given, out: passed.append(len(given[0])))
    cache.trunk_features(batch(images, names, cache), model)
    assert passed == [2], "one image, and a blank one that fills its share"


def test_the_stride_is_part_of_the_key():
    def described(stride: int | None) -> str:
        torch.manual_seed(0)
        model = CAMClassifier("torchvision/resnet50", ["a", "b"], Preprocessing((64, 64)), output_stride=stride)
        return fingerprint(describe_trunk(model, "float16", "cpu"))

    assert len({described(stride) for stride in (None, 16, 8)}) == 3


def test_maps_are_float32_within_a_foreign_autocast():
    model = network("32-true")
    with torch.autocast("cpu", torch.bfloat16):
        result = model.explain(torch.randn(2, 3, 64, 64), "all")
        assert result.maps.dtype == result.logits.dtype == result.upsample((64, 64)).dtype == torch.float32
