"""Training on kept features is training on the images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camexp.features.fingerprint import describe_trunk, fingerprint
from camexp.files import content_digest
from camexp.models import CAMClassifier, Preprocessing
from camexp.models.trunks import build_trunk
from tests.conftest import TINY, paint, run_process


@pytest.fixture
def frozen(tmp_path: Path) -> list[str]:
    """Options of a tiny network with pretrained, frozen convolutions."""
    torch.manual_seed(0)
    weights = tmp_path / "weights.safetensors"
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), weights)
    given = [one for one in TINY if not one.startswith(("model.weights", "model.freeze"))]
    return [*given, f"model.weights={weights}", "model.freeze=trunk", "dataset=imagefolder"]


def summary(folder: str | Path) -> dict:
    return json.loads(Path(folder, "summary.json").read_text())


def test_the_first_epoch_fills_and_all_others_read(script, colours, frozen):
    options = [*frozen, f"dataset.root={colours}"]
    assert script("train.py", *options, "hydra.run.dir=one", "trainer.max_epochs=3").code == 0
    first = summary("one")
    images = 18 + 6
    assert first["features"]["computed"] == images and first["features"]["read"] == 2 * images
    assert len(list(Path("outputs/features").glob("*/*/*.safetensors"))) == images

    assert script("train.py", *options, "hydra.run.dir=two", "trainer.max_epochs=3").code == 0
    second = summary("two")
    assert second["features"]["computed"] == 0 and second["features"]["read"] == 3 * images
    # rounded when computed, as when read: where a feature came from makes no difference
    assert second["final"] == first["final"]

    assert script("train.py", *options, "hydra.run.dir=three", "trainer.max_epochs=3", "features.cache=off").code == 0
    third = summary("three")
    assert third["features"] is None
    assert third["final"]["val/loss"] == pytest.approx(first["final"]["val/loss"], rel=1e-2)


def test_an_edited_image_alone_is_computed_again(script, colours, frozen, tmp_path):
    options = [*frozen, "trainer.max_epochs=1", "features.cache=kept"]
    assert script("train.py", *options, f"dataset.root={colours}", "hydra.run.dir=one").code == 0
    moved = tmp_path / "elsewhere"
    shutil.copytree(colours, moved)
    paint(moved / "red" / "red_3.png", (10, 20, 30), seed=99)
    assert script("train.py", *options, f"dataset.root={moved}", "hydra.run.dir=two").code == 0
    assert summary("two")["features"]["computed"] == 1


def test_a_damaged_entry_is_computed_again(script, colours, frozen):
    options = [*frozen, f"dataset.root={colours}", "trainer.max_epochs=1", "features.cache=kept"]
    assert script("train.py", *options, "hydra.run.dir=one").code == 0
    entry = sorted(Path("kept").glob("*/*/*.safetensors"))[0]
    damaged = bytearray(entry.read_bytes())
    damaged[-1] ^= 1
    entry.write_bytes(damaged)
    assert script("train.py", *options, "hydra.run.dir=two").code == 0
    assert summary("two")["features"]["computed"] == 1 and summary("two")["final"] == summary("one")["final"]


def test_flip_keeps_both_views(script, colours, frozen):
    options = [*frozen, f"dataset.root={colours}", "transform=flip", "trainer.max_epochs=12", "features.cache=kept"]
    assert script("train.py", *options, "hydra.run.dir=one").code == 0
    names = [path.stem for path in Path("kept").glob("*/*/*.safetensors")]
    mirrored = [name for name in names if name.endswith("mirrored")]
    assert len(names) == 6 + 18 + 18 and len(mirrored) == 18, "validation images are never mirrored"
    assert {name.removesuffix("mirrored") for name in mirrored} < set(names)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transform=augment"], "every epoch crops the images anew"),
        (["model.freeze=conv5_1"], "layers of the trunk train"),
    ],
)
def test_it_turns_itself_off_and_says_so(script, colours, frozen, arguments, said):
    done = script("train.py", *frozen, f"dataset.root={colours}", "trainer.max_epochs=1", *arguments)
    assert done.code == 0 and f"features: not stored, because {said}" in done.out
    assert not Path("outputs/features").exists()


def test_two_processes_share_one_store(script, colours, frozen):
    options = [*frozen, f"dataset.root={colours}", "trainer=ddp_cpu", "features.cache=kept", "trainer.max_epochs=1"]
    done = run_process("train.py", *options, "hydra.run.dir=one", cwd=Path.cwd())
    assert done.code == 0, done.err
    assert len(list(Path("kept").glob("*/*/*.safetensors"))) == 24


def test_listing_and_clearing(script, colours, frozen, capfd):
    from camexp.features.__main__ import main

    assert main([]) == 0 and "no features" in capfd.readouterr().out
    # a process of its own: a store in use is not cleared
    run_process("train.py", *frozen, f"dataset.root={colours}", "trainer.max_epochs=1", cwd=Path.cwd())
    assert main(["list"]) == 0
    listed = capfd.readouterr().out
    assert "vgg11 32×32 float16 " in listed and " 24 " in listed
    assert main(["clear", "nonsense"]) == 1 and "is no store" in capfd.readouterr().err
    assert main(["clear"]) == 0 and "removed" in capfd.readouterr().out
    assert main([]) == 0 and "no features" in capfd.readouterr().out


def test_the_key_covers_all_that_changes_the_numbers():
    def described(dtype="float16", device="cpu", change=lambda model: None, **kwargs):
        torch.manual_seed(0)
        arguments = {"trunk": "vgg11", "preprocessing": Preprocessing((64, 64)), "width": 1 / 16} | kwargs
        model = CAMClassifier(classes=["a", "b"], **arguments)
        change(model)
        return fingerprint(describe_trunk(model, dtype, device))

    def nudge(model):
        weight = next(model.trunk.parameters())
        weight.data[0, 0, 0, 0] = torch.nextafter(weight.data[0, 0, 0, 0], torch.tensor(9.0))

    same = described()
    assert described() == same
    assert described(change=lambda model: model.head.linear.weight.data.zero_()) == same, "the head does not count"
    assert described(change=lambda model: model.to(memory_format=torch.channels_last)) == same
    others = [
        described(dtype="bfloat16"), described(device="cuda"), described(trunk="vgg13"), described(width=1 / 8),
        described(preprocessing=Preprocessing((64, 96))), described(preprocessing=Preprocessing((64, 64), mean=(0, 0, 0))),
        described(change=nudge), described(change=lambda model: setattr(model, "precision", "bf16-mixed")),
    ]  # fmt: skip
    assert len({same, *others}) == 1 + len(others)


def test_a_digest_follows_the_bytes(tmp_path):
    one = paint(tmp_path / "a.png", (1, 2, 3))
    two = tmp_path / "b.png"
    shutil.copy(one, two)
    assert content_digest(one) == content_digest(two)
    before = content_digest(one)
    one.write_bytes(one.read_bytes() + b" ")
    assert content_digest(one) != before
