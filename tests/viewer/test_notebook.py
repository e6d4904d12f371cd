"""camexp.show: the viewer as a notebook shows it, and as a file."""

import numpy as np
import pytest
import torch
from PIL import Image

import camexp
from camexp.config import CAMOptions
from camexp.methods import build_method
from camexp.models import Preprocessing
from tests.conftest import paint


@pytest.fixture
def model():
    torch.manual_seed(0)
    return camexp.CAMClassifier("vgg11", ["duck", "</iframe>", "llama"], Preprocessing((64, 64)), width=1 / 16).eval()


def test_a_cell_shows_the_viewer(model, tmp_path, open_page):
    path = paint(tmp_path / "a.png", (200, 30, 30), (90, 60))
    result = model.explain(model.preprocess(Image.open(path))[None], "all")
    (tmp_path / "cell.html").write_text("<h1>notebook</h1>" + result.show(path)._repr_html_(), encoding="utf-8")
    page = open_page(tmp_path / "cell.html")
    frame = page.frame_locator("iframe")
    frame.locator(".class").nth(2).wait_for()
    assert set(frame.locator(".class .name").all_inner_texts()) == set(model.classes)
    frame.locator(".class").nth(2).click()
    assert frame.locator(".class").nth(2).get_attribute("aria-pressed") == "true"
    assert page.requests == []


def test_several_images_are_a_wall(model, tmp_path, open_page):
    arrays = [np.full((40, 50, 3), 60 * number, np.uint8) for number in range(3)]
    batch = torch.stack([model.preprocess(Image.fromarray(array)) for array in arrays])
    page = camexp.show(arrays, model.explain(batch, "top2"))
    page.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page
    opened = open_page(tmp_path / "page.html")
    opened.locator(".tile").nth(2).wait_for()
    with pytest.raises(ValueError, match="2 images and the results of 3"):
        camexp.show(arrays[:2], model.explain(batch))


def test_it_says_whether_a_map_and_its_logit_are_tied(model):
    photo = Image.new("RGB", (80, 60), "red")
    x = model.preprocess(photo)[None]
    assert '"identity":true' in camexp.show(photo, model.explain(x, "all"))
    assert '"identity":false' in build_method(CAMOptions(method="gradcam"))(model, x, "all").show(photo)
