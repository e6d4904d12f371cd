"""The folder in the hub's layout: read back to the last bit, its card, and folders that mean no good."""

from __future__ import annotations

import json

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

import camexp
from camexp.errors import UserError
from camexp.models.checkpoint import read_config
from tests.conftest import ROOT, paint
from tests.export.conftest import CLASSES, export, network, write_checkpoint


@pytest.fixture
def folder(ckpt, tmp_path):
    export(ckpt, tmp_path / "my-model", "safetensors")
    return tmp_path / "my-model"


def front_matter(folder):
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("file", ["", "model.safetensors"])
def test_the_same_to_the_last_bit(ckpt, folder, file, precision):
    one, other = camexp.load(ckpt, "cpu", precision), camexp.load(folder / file, "cpu", precision)
    assert other.classes == CLASSES and other.preprocessing == one.preprocessing and not other.training
    for shape in ((1, 3, 64, 96), (3, 3, 97, 65)):
        images = torch.randn(shape)
        ours, theirs = one.explain(images, "all"), other.explain(images, "all")
        assert torch.equal(ours.logits, theirs.logits) and torch.equal(ours.maps, theirs.maps)


@pytest.mark.parametrize(
    "options",
    [
        {"trunk": "torchvision/resnet18", "head": {"kind": "gap", "bias": True}},
        {"trunk": "timm/resnet10t", "output_stride": 16},
    ],
)
def test_networks_of_libraries(options, tmp_path):
    ckpt = write_checkpoint(tmp_path / "a.ckpt", network(**options))
    export(ckpt, tmp_path / "out", "safetensors")
    images = torch.randn(2, 3, 64, 96)
    assert torch.equal(camexp.load(tmp_path / "out", "cpu")(images), camexp.load(ckpt, "cpu")(images))


def test_an_export_can_be_exported(folder, tmp_path):
    export(folder, tmp_path / "again", "safetensors")
    ours, theirs = (load_file(one / "model.safetensors") for one in (folder, tmp_path / "again"))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours | theirs)
    assert (folder / "config.json").read_text() == (tmp_path / "again" / "config.json").read_text()


def test_the_scripts_take_the_folder(script, folder, colours, tmp_path):
    done = script("predict.py", f"ckpt={folder}", f"input={colours}/red", "gpus=0", "output=out", "num_workers=0")
    assert done.code == 0 and (tmp_path / "out" / "predictions.csv").exists(), done.err
    done = script("evaluate.py", f"ckpt={folder}", "gpus=0", "output=out2")
    assert done.code == 1 and "does not say what it was trained on: add dataset=" in done.err
    assert read_config(folder) == {"seed": 3, "split": {"all": False, "val_fraction": 0.25, "train_per_class": None}}


@pytest.mark.slow
def test_no_path_of_the_machine_is_published(ckpt, folder, tmp_path):
    for to in ("onnx", "torch_export"):
        export(ckpt, tmp_path / to, to)
    written = [file for name in (folder.name, "onnx", "torch_export") for file in (tmp_path / name).iterdir()]
    assert len(written) == 9
    for file in written:
        content = file.read_bytes()
        for part in ("secret", str(ROOT), str(tmp_path), "site-packages", "graph.py"):
            assert part.encode() not in content, (file, part)
    assert json.loads((folder / "config.json").read_text())["training"]["data"] == "pets"


def test_what_is_not_known_is_said(folder):
    head, body = front_matter(folder)
    assert head["library_name"] == "camexp" and head["pipeline_tag"] == "image-classification"
    assert head["license"] == "unknown" and "Not stated." in body
    assert "metrics" not in head and "No figures were given" in body
    assert "No picture of its maps" in body
    assert "- data: `pets`" in body and "`ice | cream 'x'`" in body


def test_figures_of_the_run_and_of_an_evaluation(ckpt, tmp_path):
    run = tmp_path / "run"
    summary = {
        "best": {"val/accuracy": 0.9125, "step": 30}, "final": {"val/accuracy": 0.5}, "steps": 40,
        "train_images": 1200, "val_images": 80,
    }  # fmt: skip
    (run / "summary.json").write_text(json.dumps(summary))
    export(ckpt, tmp_path / "a", "safetensors", license="MIT")
    head, body = front_matter(tmp_path / "a")
    assert head["license"] == "mit" and head["metrics"] == ["accuracy"]
    assert head["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.9125
    assert "| validation accuracy | 91.25 % |" in body and "80 validation images" in body and "steps: 30" in body

    metrics = {
        "methods": {"cam": {"top1": 0.75, "MaxBoxAccV2": 0.9, "seconds_per_image": 3.0}},
        "images": 150, "images_trained_on": 0, "checkpoint": str(ckpt), "threshold_chosen_on": "these images",
    }  # fmt: skip
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "metrics.json").write_text(json.dumps(metrics))
    export(ckpt, tmp_path / "b", "safetensors", evaluation=str(tmp_path / "evaluation"))
    head, body = front_matter(tmp_path / "b")
    assert "| MaxBoxAccV2 (`cam`) | 90.00 % |" in body and "91.25" not in body and "300" not in body
    assert head["metrics"] == ["accuracy"] and "model-index" not in head  # of which data it does not say
    assert "an evaluation on 150 images" in body and "the best on these images" in body

    other = write_checkpoint(tmp_path / "other.ckpt", network())
    with pytest.raises(UserError, match=r"is of another checkpoint, .*best\.ckpt"):
        export(other, tmp_path / "c", "safetensors", evaluation=str(tmp_path / "evaluation"))
    copied = write_checkpoint(run / "checkpoints" / "step_000010.ckpt", network())
    export(copied, tmp_path / "d", "safetensors")
    assert "No figures were given" in front_matter(tmp_path / "d")[1]  # the run's are of other steps


def test_the_strip(ckpt, tmp_path):
    for number in range(3):
        paint(tmp_path / "photos" / f"{number}.png", (200, 40 * number, 30), (90, 60), seed=number)
    export(ckpt, tmp_path / "a", "safetensors", images=str(tmp_path / "photos"))
    with Image.open(tmp_path / "a" / "maps.jpg") as strip:
        assert strip.width > 600
    assert "![Maps](maps.jpg)" in front_matter(tmp_path / "a")[1]
    paint(tmp_path / "run" / "cams" / "evolution.png", (10, 200, 30), (300, 100))
    export(ckpt, tmp_path / "b", "safetensors")
    with Image.open(tmp_path / "b" / "maps.jpg") as strip:
        assert strip.size == (300, 100)
    (tmp_path / "photos" / "0.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^images: .*0\.png could not be read"):
        export(ckpt, tmp_path / "c", "safetensors", images=str(tmp_path / "photos"))
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "preprocessing"),
    [("safetensors", False), *((to, inside) for to in ("onnx", "torch_export") for inside in (False, True))],
)
def test_the_cards_example_runs(ckpt, tmp_path, monkeypatch, to, preprocessing):
    export(ckpt, tmp_path / "out", to, preprocessing=preprocessing, **({} if to == "safetensors" else {"maps": "top2"}))
    body = front_matter(tmp_path / "out")[1]
    code = body.split("```python\n")[1].split("```")[0].replace("FOLDER", str(tmp_path / "out"))
    monkeypatch.chdir(tmp_path / "out")
    paint(tmp_path / "out" / "photo.jpg", (200, 90, 10), (150, 100))
    names: dict = {}
    exec(code, names)
    with Image.open("photo.jpg") as image:
        model = camexp.load(ckpt, "cpu", "32-true")
        expected = model.explain(model.preprocess(image)[None], "all").logits
    found = names["result"].logits if to == "safetensors" else torch.as_tensor(names["logits"])
    assert torch.allclose(found, expected, rtol=2e-2 if to == "safetensors" else 1e-4, atol=1e-3)


HOSTILE = {
    "no JSON": b"{",
    "a million brackets": b"[" * 1_000_000,
    "a list": b"[]",
    "of another library": {"library_name": "timm"},
    "of a later format": {"format": 2},
    "no classes": {"classes": []},
    "classes that are no texts": {"classes": [1, 2, 3]},
    "a trunk that is no text": {"architecture": {"trunk": 7}},
    "a trunk that is a path": {"architecture": {"trunk": "../../etc/passwd"}},
    "a trunk of no library": {"architecture": {"trunk": "timm/../../../etc/passwd"}},
    "a trunk to download": {"architecture": {"trunk": "timm/hf-hub:someone/model"}},
    "an argument more": {"architecture": {"trunk": "vgg11_bn", "width": 0.0625, "weights": "/etc/passwd"}},
    "a width beyond all memory": {"architecture": {"trunk": "vgg11_bn", "width": 1e9}},
    "a head beyond all memory": {"architecture": {"trunk": "vgg11_bn", "width": 0.0625, "head": {"channels": 10**9}}},
    "a head that is not in the file": {
        "architecture": {"trunk": "vgg11_bn", "width": 0.0625, "head": {"channels": 60000}}
    },
    "another trunk": {"architecture": {"trunk": "vgg13_bn", "width": 0.0625, "head": {"channels": 8}}},
    "a size of nothing": {"preprocessing": {"size": [0, 0], "mean": [0.0] * 3, "std": [1.0] * 3}},
    "a mean that is no number": {"preprocessing": {"size": None, "mean": [float("nan")] * 3, "std": [1.0] * 3}},
    "a spread of nothing": {"preprocessing": {"size": None, "mean": [0.0] * 3, "std": [0.0, 1.0, 1.0]}},
    "two channels": {"preprocessing": {"size": None, "mean": [0.0] * 2, "std": [1.0] * 2}},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_config_is_one_sentence(folder, case):
    content, file = HOSTILE[case], folder / "config.json"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | content))
    with pytest.raises(UserError, match=r"^ckpt=.*my-model") as told:
        camexp.load(folder)
    assert "\n" not in str(told.value)


def test_files_that_do_not_fit(folder, tmp_path):
    weights, config = folder / "model.safetensors", folder / "config.json"
    whole, state = weights.read_bytes(), load_file(weights)
    state = {key: value.clone() for key, value in state.items()}

    def told():
        with pytest.raises(UserError, match=r"^ckpt=") as error:
            camexp.load(folder)
        return str(error.value)

    weights.write_bytes(whole[: len(whole) // 2])
    assert "not a sound safetensors file" in told()
    weights.write_bytes(b"")
    assert "not a sound safetensors file" in told()
    save_file(state | {"head.linear.weight": torch.full((3, 8), float("nan"))}, weights)
    assert "NaN or infinite" in told()
    save_file(state | {"head.linear.weight": torch.zeros(4, 8)}, weights)
    assert "do not belong together" in told()
    save_file({key: value for key, value in state.items() if "conv_cam" not in key}, weights)
    assert "does not fit the network" in told()
    weights.unlink()
    assert "holds no model.safetensors" in told() and "to=safetensors" in told()
    config.unlink()
    assert "has no config.json" in told()
    with pytest.raises(UserError, match=r"absent\.safetensors is not a file"):
        camexp.load(tmp_path / "absent.safetensors")
