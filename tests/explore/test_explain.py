"""An image in, its maps out: the numbers of camexp.load, whatever the way."""

from __future__ import annotations

import base64
import io
import threading

import numpy as np
import pytest
import torch
from PIL import Image

import camexp
from camexp.config import CAMOptions
from camexp.explore.engine import Engine
from camexp.images import to_rgb
from camexp.methods import METHODS, build_method
from camexp.models import Preprocessing
from camexp.viewer import unpack_maps
from tests.conftest import PATIENCE, paint
from tests.explore.conftest import CLASSES, picture, save_network


def image_of(data: bytes) -> Image.Image:
    return to_rgb(Image.open(io.BytesIO(data)))


def require_same(item, expected, image=0):
    """An item against a CAMResult: logits as they are, maps to a 510th of their range."""
    logits = np.frombuffer(base64.b64decode(item["logits"]), "<f4")
    assert logits == pytest.approx(expected.logits[image].numpy(), abs=1e-4)
    maps = expected.maps[image].numpy()
    assert item["labels"] == expected.labels[image].tolist()
    allowed = np.ptp(maps, (1, 2))[:, None, None] / 500 + 1e-4
    assert (np.abs(unpack_maps(item["maps"]) - maps) <= allowed).all()


def test_all_classes_in_one_answer(server, ckpt):
    data = picture((90, 60))
    answer = server.explain(data)
    assert answer.status == 200
    [item] = answer.json["items"]
    model = camexp.load(ckpt, "cpu", "32-true")
    require_same(item, model.explain(model.preprocess(image_of(data))[None], "all"))
    assert item["size"] == [60, 90] and item["photo"] == "" and item["identity"] is True
    probabilities = model.explain(model.preprocess(image_of(data))[None]).probabilities[0]
    assert (item["best"], item["p"]) == (
        int(probabilities.argmax()),
        pytest.approx(float(probabilities.max()), rel=1e-4),
    )


@pytest.mark.parametrize(
    ("query", "cam", "size", "labels"),
    [
        ("method=gradcam", {"method": "gradcam"}, (64, 64), "top5"),
        ("method=pc1", {"method": "pc1"}, (64, 64), "top5"),
        ("method=layercam&size=96", {"method": "layercam"}, (96, 96), "top5"),
        ("flip=1&scales=1,1.5", {"flip": True, "scales": [1.0, 1.5]}, (64, 64), "all"),
        ("size=64x96", {}, (64, 96), "all"),
        ("size=own", {}, None, "all"),
        ("classes=2,0", {}, (64, 64), [2, 0]),
        ("method=gradcam&classes=6", {"method": "gradcam"}, (64, 64), [6]),
    ],
)
def test_every_setting_is_that_of_the_library(server, ckpt, query, cam, size, labels):
    data = picture((90, 60), seed=3)
    answer = server.explain(data, query)
    assert answer.status == 200, answer.body
    model = camexp.load(ckpt, "cpu", "32-true")
    own = model.preprocessing
    image = Preprocessing(size, own.mean, own.std)(image_of(data))
    require_same(answer.json["items"][0], build_method(CAMOptions.read(cam))(model, image[None], labels))
    assert answer.json["items"][0]["identity"] is (not cam)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("method=gradcm", "cam.method=gradcm is not a method: did you mean gradcam"),
        ("size=12", "size=12 is not a size: expected pixels, 32 to 8192"),
        ("size=../../etc", "size=../../etc is not a size"),
        ("scales=a", "scales=a is not a list of numbers"),
        ("scales=9", "cam.scales=[9.0] is out of range: expected 0.25 to 4"),
        ("scales=1,1,1,1,1,1,1,1,1", "at most 8 are averaged here"),
        ("scales=nan", "expected 0.25 to 4"),
        ("classes=7", "7 is not a number below 7"),
        ("classes=-1", "-1 is not a number below 7"),
        ("networks=1", "1 is not a number below 1"),
        ("image=0", "0 is not a number below 0"),
    ],
)
def test_a_wrong_setting_is_a_sentence(server, query, told):
    answer = server.explain(picture(), query)
    assert answer.status in (400, 404) and told in answer.json["error"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_what_photographs_come_as(server, kind):
    assert server.explain(picture(kind=kind)).json["items"][0]["size"] == [60, 90]


def test_a_photograph_on_its_side_stands_upright(server):
    """Width and height are those that a browser shows."""
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60), (200, 50, 40)).save(file, "JPEG", exif=exif)
    assert server.explain(file.getvalue()).json["items"][0]["size"] == [90, 60]


def test_what_a_browser_cannot_show_comes_back_as_jpeg(server):
    [item] = server.explain(picture(kind="TIFF"), "photo=1").json["items"]
    assert item["photo"].startswith("data:image/jpeg;base64,")


def test_two_checkpoints_side_by_side(serve, ckpt, tmp_path):
    other = save_network(tmp_path / "b.ckpt", ["fish", "llama"], seed=1)
    server = serve(ckpt=[ckpt, str(other)])
    data = picture()
    items = server.explain(data).json["items"]
    for path, item in zip((ckpt, other), items, strict=True):
        model = camexp.load(path, "cpu", "32-true")
        require_same(item, model.explain(model.preprocess(image_of(data))[None], "all"))
    assert server.explain(data, "networks=1").json["items"] == items[1:]
    told = server.ask("GET", "/networks").json["networks"]
    assert [one["meta"]["classes"] for one in told] == [CLASSES, ["fish", "llama"]]


def test_images_that_wait_go_together_and_each_gets_its_own(serve, ckpt, monkeypatch):
    server = serve(ckpt=ckpt, batch_size=4)
    go, sizes, original = threading.Event(), [], Engine._explain

    def explain(engine, batch):
        sizes.append(len(batch))
        assert go.wait(PATIENCE)
        return original(engine, batch)

    monkeypatch.setattr(Engine, "_explain", explain)
    files = [picture(seed=seed) for seed in range(10)]
    answers = {}
    queries = ["" if number < 8 else "size=96" for number in range(10)]
    threads = [
        threading.Thread(target=lambda number=number: answers.update({number: server.explain(files[number], queries[number])}))
        for number in range(10)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    from tests.explore.conftest import until

    until(lambda: len(server.explorer.engine._waiting) == 10 - sum(sizes))
    go.set()
    for thread in threads:
        thread.join()
    assert sum(sizes) == 10 and max(sizes) == 4 and len(sizes) <= 6
    model = camexp.load(ckpt, "cpu", "32-true")
    for number, data in enumerate(files):
        preprocessing = model.preprocessing if number < 8 else Preprocessing((96, 96))
        require_same(answers[number].json["items"][0], model.explain(preprocessing(image_of(data))[None], "all"))


def test_a_failure_of_the_network_is_one_answer(serve, ckpt, monkeypatch):
    server = serve(ckpt=ckpt)
    monkeypatch.setitem(METHODS, "broken", lambda name, layer: lambda *_: torch.zeros(1) @ torch.zeros(2))
    answer = server.explain(picture(), "method=broken")
    assert answer.status == 400 and answer.json["error"].startswith("the network failed: ")
    assert server.explain(picture()).status == 200


def test_maps_that_are_no_numbers_are_told(serve, ckpt):
    server = serve(ckpt=ckpt)
    with torch.no_grad():
        server.networks[0].loaded.model.head.linear.weight[0, 0] = float("inf")
    answer = server.explain(picture())
    assert answer.status == 422 and "not finite" in answer.json["error"]


def test_an_image_of_the_folder_by_its_number(serve, ckpt, tmp_path):
    path = paint(tmp_path / "photos" / "a" / "x.png", (200, 50, 40))
    server = serve(ckpt=ckpt, input=str(tmp_path / "photos"))
    assert server.explain(None, "image=0", **{"content-length": "0"}).json == server.explain(path.read_bytes()).json
