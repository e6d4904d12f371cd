"""predict.py as its user runs it."""

import csv
import re

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import loadmat

import camexp
from camexp.cam import box_from_map, colourise
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import paint, run_process

CLASSES = ["cat", "ice cream, (big) = 1", "dog/wolf"]


@pytest.fixture
def ckpt(tmp_path):
    torch.manual_seed(0)
    model = CAMClassifier(
        "vgg11_bn", CLASSES, Preprocessing((64, 64)), width=1 / 16, head={"channels": 8, "init_std": 0.3}
    ).eval()
    path = tmp_path / "lr=0.1, best [1].ckpt"
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, path)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "my photos"
    paint(folder / "a.png", (200, 30, 30), (80, 60))
    paint(folder / "b=1, ü [x].jpg", (30, 200, 30), (120, 90))
    paint(folder / "sub" / "a.png", (30, 30, 200), (50, 70))
    return folder


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_mistyped_leaves_finished_results_alone(script, ckpt, photos, tmp_path):
    """A label or a layer that there is not is told before the folder of an earlier prediction is begun anew."""
    given = "predict.py", f"ckpt={ckpt}", f"input={photos}", "output=out"
    assert script(*given).code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for wrong in (
        ["label=lama"], ["label=99"], ["label=[]"], ["cam=gradcam", "cam.layer=nope"], ["cam.affinity=nope"],
        ["cam=gradcam", "cam.affinity=nope"], ["cam=gradcam", "cam.layer=nope", "cam.flip=true", "cam.affinity=auto"],
    ):  # fmt: skip
        done = script(*given, *wrong)
        assert done.code == 1 and "resume=auto" not in done.out + done.err, wrong
        after = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
        changed = {path.name for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        assert changed <= {"predict.log", "config.yaml", "hydra.yaml", "overrides.yaml"}, wrong  # Hydra's own


def test_everything_is_written(script, ckpt, photos, tmp_path):
    done = script(
        "predict.py", f"ckpt={ckpt}", f"input={photos}", "label=all", "output=out", "npz=true", "mat.upsampled=true"
    )
    assert done.code == 0, done.err
    out = tmp_path / "out"
    names = {
        "my photos_a": photos / "a.png",
        "b=1, ü [x]": photos / "b=1, ü [x].jpg",
        "sub_a": photos / "sub" / "a.png",
    }
    assert sorted(path.stem for path in (out / "maps").glob("*.mat")) == sorted(names)
    assert len(list((out / "overlays").iterdir())) == 9
    assert (out / "montage_0001.png").exists()
    assert not list(out.rglob(".*~*"))

    model = camexp.load(ckpt, "cpu")
    for name, path in names.items():
        content = loadmat(out / "maps" / f"{name}.mat")
        with Image.open(path) as image:
            expected = model.explain(model.preprocess(image)[None], "all")
            height, width = image.height, image.width
        assert np.allclose(content["maps"], expected.maps[0], atol=1e-6)
        assert np.allclose(content["logits"][0], expected.logits[0], atol=1e-6)
        assert np.allclose(content["probabilities"][0], expected.logits[0].softmax(-1), atol=1e-6)
        assert np.allclose(content["upsampled"], expected.upsample((height, width))[0], atol=1e-5)
        assert content["labels"].tolist() == [[0, 1, 2]]
        assert [str(one[0]) for one in content["class_names"][0]] == CLASSES
        assert content["image_size"].tolist() == [[height, width]]
        assert content["image_path"][0] == str(path)
        with np.load(out / "maps" / f"{name}.npz") as arrays:
            assert np.array_equal(arrays["maps"], content["maps"])
        with Image.open(out / "overlays" / f"{name}__dog_wolf.png") as overlay:
            assert overlay.size == (width, height)

    table = rows(out / "predictions.csv")
    assert [(row["path"], row["class"]) for row in table] == [
        (str(path), name) for path in sorted(names.values()) for name in CLASSES
    ]
    for row in table:
        content = loadmat(
            out / "maps" / f"{next(name for name, path in names.items() if str(path) == row['path'])}.mat"
        )
        box = box_from_map(content["upsampled"][int(row["label"])])
        assert [row[key] for key in ("x0", "y0", "x1", "y1")] == ([str(edge) for edge in box] if box else [""] * 4)
        assert float(row["top1_probability"]) == pytest.approx(content["probabilities"].max(), abs=1e-5)
        assert row["top4_class"] == ""


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("ice cream, (big) = 1", [CLASSES[1]]),
        ("2", [CLASSES[2]]),
        ("[cat,2]", ["cat", CLASSES[2]]),
        ("top2", None),
        ("predicted", None),
    ],
)
def test_labels(script, ckpt, photos, tmp_path, label, expected):
    done = script("predict.py", f"ckpt={ckpt}", f"input={photos / 'a.png'}", f"label={label}", "output=out")
    assert done.code == 0, done.err
    table = rows(tmp_path / "out" / "predictions.csv")
    if expected is None:
        expected = [table[0][f"top{place}_class"] for place in range(1, 3 if label == "top2" else 2)]
    assert [row["class"] for row in table] == expected


def test_native_size_and_batch_size_do_not_matter_to_each_other(script, ckpt, photos, tmp_path):
    for batch in (1, 8):
        assert (
            script(
                "predict.py",
                f"ckpt={ckpt}",
                f"input={photos}",
                "resize=null",
                f"batch_size={batch}",
                f"output=out{batch}",
            ).code
            == 0
        )
    for path in (tmp_path / "out1" / "maps").iterdir():
        one, eight = loadmat(path), loadmat(tmp_path / "out8" / "maps" / path.name)
        assert one["maps"].shape[1:] == tuple(one["image_size"][0] // 16)
        assert np.allclose(one["maps"], eight["maps"], rtol=1e-5, atol=1e-6)


def test_unreadable_images_are_skipped_and_counted(script, ckpt, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no image")
    arguments = ("predict.py", f"ckpt={ckpt}", f"input={photos}", "output=out")
    done = script(*arguments)
    assert done.code == 0
    assert "3   (1 skipped" in done.out
    assert [row["path"] for row in rows(tmp_path / "out" / "skipped.csv")] == [str(photos / "broken.jpg")]
    done = script(*arguments, "strict=true")
    assert done.code == 1
    assert "strict=true: 1 of 4 images could not be read" in done.err
    done = script("predict.py", f"ckpt={ckpt}", f"input={photos / 'broken.jpg'}", "output=out2")
    assert done.code == 1
    assert "1 of 1 images could not be read" in done.err


def test_colours_alpha_and_colour_bar(script, ckpt, photos, tmp_path):
    done = script(
        "predict.py",
        f"ckpt={ckpt}",
        f"input={photos / 'a.png'}",
        "label=cat",
        "colormap=viridis",
        "alpha=1.0",
        "mat.upsampled=true",
        "output=out",
    )
    assert done.code == 0, done.err
    content = loadmat(tmp_path / "out" / "maps" / "a.mat")
    with Image.open(tmp_path / "out" / "overlays" / "a__cat.png") as overlay:
        assert np.array_equal(np.asarray(overlay), colourise(content["upsampled"][0], "viridis"))
    assert (
        script(
            "predict.py", f"ckpt={ckpt}", f"input={photos / 'a.png'}", "label=cat", "colorbar=true", "output=out"
        ).code
        == 0
    )
    with Image.open(tmp_path / "out" / "overlays" / "a__cat.png") as overlay:
        assert overlay.width > 80
    assert "viridis" in matplotlib.colormaps


def test_less_can_be_asked_for(script, ckpt, photos, tmp_path):
    done = script(
        "predict.py",
        f"ckpt={ckpt}",
        f"input={photos}",
        "overlays=false",
        "montage.images=2",
        "output=out",
    )
    assert done.code == 0, done.err
    assert not (tmp_path / "out" / "overlays").exists()
    content = loadmat(tmp_path / "out" / "maps" / "sub_a.mat")
    assert "maps" in content and "upsampled" not in content
    assert len(list((tmp_path / "out").glob("montage_*.png"))) == 2


@pytest.mark.slow
def test_a_process_of_its_own(ckpt, photos, tmp_path):
    done = run_process("predict.py", f"ckpt={ckpt}", f"input={photos / 'b=1, ü [x].jpg'}", cwd=tmp_path, fresh=True)
    assert done.code == 0, done.err
    folder = re.search(r"results\s+(\S+)", done.out)[1]
    assert re.fullmatch(r"outputs/predict/\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d", folder)
    assert (tmp_path / folder / "predictions.csv").exists()
    assert "Warning" not in done.err, done.err


def test_names_with_line_breaks_and_without_encoding(script, ckpt, photos, tmp_path):
    import os

    paint(photos / "new\nline.png", (9, 99, 9))
    (photos / os.fsdecode(b"br\xe9ken.png")).write_bytes(b"no image")
    done = script("predict.py", f"ckpt={ckpt}", f"input={photos}", "output=out")
    assert done.code == 0, done.err
    assert "Traceback" not in done.out + done.err
    assert len(rows(tmp_path / "out" / "predictions.csv")) == 4


def test_class_names_that_differ_only_in_odd_letters(script, photos, tmp_path):
    model = CAMClassifier("vgg11", ["a:b", "a?b", "A_b"], Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "c.ckpt")
    done = script("predict.py", "ckpt=c.ckpt", f"input={photos / 'a.png'}", "label=all", "output=out", "npz=true")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 3
    with np.load(tmp_path / "out" / "maps" / "a.npz") as arrays:  # plain arrays: nothing pickled
        assert arrays["class_names"].tolist() == ["a:b", "a?b", "A_b"]


def test_upsampled_maps_beyond_matlabs_limit_are_left_out(script, ckpt, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("camexp.prediction.results.MATLAB_LIMIT", 3 * 80 * 60 * 4)
    done = script("predict.py", f"ckpt={ckpt}", f"input={photos}", "label=all", "mat.upsampled=true", "output=out")
    assert done.code == 0, done.err
    assert "upsampled" in loadmat(tmp_path / "out" / "maps" / "my photos_a.mat")
    assert "upsampled" not in loadmat(tmp_path / "out" / "maps" / "b=1, ü [x].mat")
    assert "left out" in done.out


def test_another_method_and_averaged_views(script, ckpt, photos, tmp_path):
    done = script(
        "predict.py", f"ckpt={ckpt}", f"input={photos}", "cam=gradcam", "cam.flip=true", "label=cat", "output=out"
    )
    assert done.code == 0, done.err
    content = loadmat(tmp_path / "out" / "maps" / "sub_a.mat")
    assert content["maps"].shape[0] == 1 and content["maps"].min() >= 0
    done = script("predict.py", f"ckpt={ckpt}", f"input={photos}", "cam=layercam", "cam.layer=nowhere", "output=out2")
    assert done.code == 1 and "cam.layer=nowhere is no layer" in done.err


@pytest.mark.slow
def test_principal_components_of_mixed_sizes_in_a_process_of_its_own(ckpt, photos, tmp_path):
    """Of every class the same map up to its sign; the logits and the classes found are CAM's."""
    for method in ("cam", "pc1"):
        done = run_process(
            "predict.py", f"ckpt={ckpt}", f"input={photos}", f"cam={method}", "label=all", "resize=null", "npz=true",
            "gpus=0", "precision=32-true", f"output={method}", cwd=tmp_path,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "Warning" not in done.err, done.err
    for name in ("my photos_a", "b=1, ü [x]", "sub_a"):
        with (
            np.load(tmp_path / "cam/maps" / f"{name}.npz") as cam,
            np.load(tmp_path / "pc1/maps" / f"{name}.npz") as pc1,
        ):
            assert np.array_equal(cam["logits"], pc1["logits"]) and cam["maps"].shape == pc1["maps"].shape
            assert np.array_equal(np.abs(pc1["maps"]), np.abs(pc1["maps"][:1]).repeat(len(CLASSES), 0))
            assert np.ptp(pc1["maps"]) > 0
            assert (((cam["maps"] - cam["maps"].mean((1, 2), keepdims=True)) * pc1["maps"]).sum((1, 2)) > 0).all()
    assert len(list((tmp_path / "pc1/overlays").iterdir())) == 3 * len(CLASSES)
