"""Data sets of torchvision by their names: as torchvision itself reads them."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from camexp import UserError
from camexp.config import DatasetOptions
from camexp.data import build_images, find_torchvision
from camexp.data.torchvision_sets import NAMES
from camexp.evaluation.checkpoint_dataset import recorded_dataset
from tests.conftest import TINY
from tests.data import layouts


def test_pets_are_files_with_parts_and_masks(tmp_path):
    images = find_torchvision(**layouts.torchvision(tmp_path))
    assert images.classes == ("Abyssinian", "Great Pyrenees") and images.source is None
    assert [images.count(images.in_part(part)) for part in ("train", "val", "test")] == [[4, 4], [0, 0], [4, 4]]
    own = datasets.OxfordIIITPet(str(tmp_path), "test", target_types=["category", "segmentation"])
    for index, (photo, (label, trimap)) in zip(images.in_part("test"), own, strict=True):
        assert images.read(index).tobytes() == photo.tobytes() and images.labels[index] == label
        path = images.paths[index]
        assert (images.mask(path) == (np.asarray(trimap) == 1)).all() and images.masked(path)
        assert (images.ignore(path) == (np.asarray(trimap) == 3)).all() and images.ignore(path).any()
    images.paths[0].parents[1].joinpath("annotations/trimaps", f"{images.paths[0].stem}.png").write_bytes(b"no")
    with pytest.raises(UserError, match="OxfordIIITPet: the mask .* cannot be decoded"):
        images.mask(images.paths[0])


def write_mnist(root: Path) -> None:
    """As its archive has it: a head of big-endian numbers, and bytes."""
    folder = root / "MNIST/raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("t10k", 6)):
        pixels = rng.integers(0, 256, (count, 28, 28), np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 0x803, count, 28, 28) + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 3
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 0x801, count) + labels.tobytes())


def test_images_in_memory_get_names(tmp_path):
    write_mnist(tmp_path)
    images = find_torchvision("MNIST", str(tmp_path))
    own = datasets.MNIST(str(tmp_path), train=False)
    assert images.classes == tuple(own.classes) and len(images) == 18
    assert images.paths[12] == tmp_path / "MNIST/test/000000.png"
    chosen = pickle.loads(pickle.dumps(images.select_classes(["0 - zero", "2 - two"])))  # as a worker gets it
    assert chosen.labels == [0, 1] * 6 and len(set(map(chosen.digest, range(12)))) == 12
    for index, number in zip(chosen.in_part("test"), (0, 2, 3, 5), strict=True):
        photo, _ = own[number]
        assert chosen.read(index).tobytes() == photo.convert("RGB").tobytes() and chosen.size(index) == (28, 28)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"FakeData"}))
def test_what_is_not_there_is_said_before_anything_begins(name, tmp_path):
    with pytest.raises(UserError, match=f"^dataset.name={name} cannot be read in dataset.root=.*dataset.download=true"):
        find_torchvision(name, str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"name": None}, "^dataset.name is not given: known: CIFAR10"),
        ({"name": "Flower102"}, "^dataset.name=Flower102 is no classification .* did you mean Flowers102"),
        ({"name": "VOCDetection"}, "is no classification data set"),
        ({"name": "FakeData", "sise": 3}, "^dataset.sise is no option of torchvision's FakeData: did you mean size"),
        ({"name": "FakeData", "transform": "os.system"}, "^dataset.transform is no option"),
        ({"name": "DTD", "loader": "os.system"}, "^dataset.loader is no option"),
        ({"name": "DTD", "split": "middle"}, "^dataset.name=DTD: torchvision refuses it .*middle"),
    ],
)
def test_what_it_does_not_take(arguments, said, tmp_path):
    with pytest.raises(UserError, match=said):
        find_torchvision(root=str(tmp_path), **arguments)


def test_a_checkpoint_may_name_one_and_nothing_is_fetched(tmp_path):
    options = {"_target_": "camexp.data.find_torchvision", **layouts.torchvision(tmp_path), "download": True}
    recorded = recorded_dataset(options)
    assert "download" not in recorded.arguments and len(build_images(recorded)) == 16


def test_images_without_files_train_evaluate_and_resume(script, tmp_path):
    fake = ("dataset=torchvision", "dataset.name=FakeData", "+dataset.size=40", "+dataset.num_classes=2",
            "+dataset.image_size=[3,40,36]")  # fmt: skip
    run = (*fake, *TINY, "hydra.run.dir=run", "trainer.max_epochs=1", "optimizer.lr=1e-3")
    done = script("train.py", *run, "inspect.image=[data/torchvision/FakeData/000003.png]")
    assert done.code == 0, done.err
    assert "evaluate" in done.out and "FakeData/000003.png" in (tmp_path / "run/report.html").read_text()
    done = script("evaluate.py", "ckpt=run/checkpoints/best.ckpt", "num_workers=0", "output=out", "sheet.images=2")
    assert done.code == 0, done.err
    assert "data/torchvision/FakeData/0000" in (tmp_path / "out/per_image.csv").read_text()
    done = script("train.py", *run, "+dataset.random_offset=1", "trainer.max_epochs=2", "resume=auto")
    assert done.code == 1 and "cannot change" in done.err


def test_other_contents_of_the_same_names_are_other_images(monkeypatch):
    from camexp.config import SplitOptions
    from camexp.data import split_images
    from camexp.training.resume_checks import image_digest

    one, other = (find_torchvision("FakeData", size=20, num_classes=1, random_offset=offset) for offset in (0, 7))
    split = split_images(one, SplitOptions.read({"train_per_class": 10, "val_fraction": None}), seed=0)
    assert one.paths == other.paths and one.labels == other.labels
    assert image_digest(one, split) == image_digest(one, split) != image_digest(other, split)


def test_masks_are_measured_without_further_files(script, tmp_path):
    pets = layouts.torchvision(tmp_path / "pets")
    given = ("dataset=torchvision", f"dataset.name={pets['name']}", f"dataset.root={pets['root']}")
    assert script("train.py", *given, *TINY, "hydra.run.dir=run").code == 0
    assert "val/pointing" in (tmp_path / "run/metrics.csv").read_text()
    done = script("evaluate.py", "ckpt=run/checkpoints/best.ckpt", *given, "part=test", "num_workers=0", "output=out")
    assert done.code == 0 and "PxAP" in done.out, done.err


def test_build_images_names_it(tmp_path):
    with pytest.raises(UserError, match="expected 2 to 3"):
        build_images(DatasetOptions.read({"_target_": "camexp.data.find_torchvision", "name": "FakeData", "size": 9,
                                          "num_classes": 3, "classes": 7}))  # fmt: skip
