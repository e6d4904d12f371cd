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
from tests.conftest import TINY, paint
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
    if name == "PCAM":
        pytest.importorskip("h5py")
    more = {"split": "letters"} if name == "EMNIST" else {}
    fetched = "" if name == "FER2013" else ".*dataset.download=true"
    with pytest.raises(UserError, match=f"^dataset.name={name} cannot be read in dataset.root=.*{fetched}") as told:
        find_torchvision(name, str(tmp_path / "absent"), **more)
    assert ("dataset.download" in str(told.value)) == bool(fetched)


def test_there_is_no_other_one():
    """All with one class an image: the rest are detection, segmentation, video, pairs, groups of their own here, or
    lie in a data base of millions (LSUN)."""
    others = {
        "CREStereo", "Caltech101", "Caltech256", "CarlaStereo", "CelebA", "Cityscapes", "CocoCaptions", "CocoDetection",
        "DatasetFolder", "ETH3DStereo", "FallingThingsStereo", "Flickr30k", "Flickr8k", "FlyingChairs",
        "FlyingThings3D", "HD1K", "HMDB51", "ImageFolder", "ImageNet", "InStereo2k", "Kinetics", "Kitti",
        "Kitti2012Stereo", "Kitti2015Stereo", "KittiFlow", "LFWPairs", "Middlebury2014Stereo", "MovingMNIST",
        "PhotoTour", "SBDataset", "SBU", "SceneFlowStereo", "Sintel", "SintelStereo", "UCF101", "VOCDetection",
        "VOCSegmentation", "VisionDataset", "WIDERFace", "LSUN", "LSUNClass", "wrap_dataset_for_transforms_v2",
    }  # fmt: skip
    assert set(datasets.__all__) - others - set(NAMES) == set()


def idx(path: Path, magic: int, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">{1 + array.ndim}i", magic, *array.shape) + array.tobytes())


@pytest.fixture
def unchecked(monkeypatch):
    """Small files are not those whose digests torchvision knows."""
    for module in (datasets.fer2013, datasets.omniglot, datasets.places365):
        monkeypatch.setattr(module, "check_integrity", lambda path, md5=None: Path(path).exists())


def same(images, *own) -> None:
    pairs = [pair for one in own for pair in one]
    assert len(images) == len(pairs)
    for index, (photo, label) in enumerate(pairs):
        assert images.read(index).tobytes() == photo.convert("RGB").tobytes() and images.labels[index] == label


def test_emnist_and_qmnist(tmp_path):
    rng = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 6)):
        pixels, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), np.arange(count, dtype=np.uint8) % 3
        idx(tmp_path / f"EMNIST/raw/emnist-digits-{part}-images-idx3-ubyte", 0x803, pixels)
        idx(tmp_path / f"EMNIST/raw/emnist-digits-{part}-labels-idx1-ubyte", 0x801, labels)
        about = np.zeros((count, 8), ">i4")
        about[:, 0], about[:, 2] = labels, 77
        idx(tmp_path / f"QMNIST/raw/qmnist-{part}-images-idx3-ubyte", 0x803, pixels)
        idx(tmp_path / f"QMNIST/raw/qmnist-{part}-labels-idx2-int", 0xC02, about)
    same(
        find_torchvision("EMNIST", str(tmp_path), split="digits"),
        *(datasets.EMNIST(str(tmp_path), "digits", train=train) for train in (True, False)),
    )
    with pytest.raises(UserError, match=r"EMNIST has several sets: add one as \+dataset.split=byclass"):
        find_torchvision("EMNIST", str(tmp_path))
    images = find_torchvision("QMNIST", str(tmp_path))
    assert list(images.labels) == [*range(3)] * 6


def test_faces(tmp_path, unchecked):
    rows = [f"{number % 7},{' '.join([str(number)] * 48 * 48)}" for number in range(8)]
    layouts.write(tmp_path / "fer2013/train.csv", "emotion,pixels", *rows)
    same(find_torchvision("FER2013", str(tmp_path), split="train"), datasets.FER2013(str(tmp_path)))
    layouts.write(tmp_path / "fer2013/test.csv", "pixels", *(row.partition(",")[2] for row in rows))
    with pytest.raises(UserError, match="FER2013 brings no labels of its test images"):
        find_torchvision("FER2013", str(tmp_path))


def test_characters(tmp_path, unchecked):
    for place in ("Latin/character01", "Latin/character02", "Greek/character01"):
        paint(tmp_path / "omniglot-py/images_background" / place / "a.png", (9, 9, 9), (20, 20))
    (tmp_path / "omniglot-py/images_background.zip").write_bytes(b"")
    same(find_torchvision("Omniglot", str(tmp_path)), datasets.Omniglot(str(tmp_path)))


def test_places(tmp_path, unchecked):
    layouts.write(tmp_path / "categories_places365.txt", "/a/airfield 0", "/b/beach 1")
    for part, folder in (("train_standard", "data_large_standard"), ("val", "val_large")):
        names = [f"/{kind}.jpg" if part == "val" else f"/{kind[0]}/{kind}/1.jpg" for kind in ("airfield", "beach")]
        for name in names:
            paint(tmp_path / f"{folder}{name}", (50, 60, 200), (20, 20))
        lines = [f"{name[1:] if part == 'val' else name} {label}" for label, name in enumerate(names)]
        layouts.write(tmp_path / f"places365_{part}.txt", *lines)
    images = find_torchvision("Places365", str(tmp_path))
    own = [datasets.Places365(str(tmp_path), split) for split in ("train-standard", "val")]
    same(images, *own)
    assert images.classes == tuple(own[0].classes) and images.source is None


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
