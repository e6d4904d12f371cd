"""The report of predict.py, as its reader uses it."""

import csv
import json
import re

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

import camexp
from camexp.cam import box_from_map, upsample
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from camexp.viewer import ImageReport, item, meta
from tests.conftest import paint

HOSTILE = [
    '</script><script>document.title="owned"</script>',
    "a\"b'c&amp;<img src=x onerror=alert(1)>",
    "שלום " + "ל" * 120,
]


def save_network(path, classes):
    torch.manual_seed(0)
    model = CAMClassifier(
        "vgg11_bn", classes, Preprocessing((64, 64)), width=1 / 16, head={"channels": 8, "init_std": 0.3}
    )
    state = {f"classifier.{key}": value for key, value in model.eval().state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, path)
    return camexp.load(path, "cpu")


@pytest.fixture
def predicted(script, tmp_path):
    model = save_network(tmp_path / "a.ckpt", ["cat", "dog", *HOSTILE])
    for number in range(6):
        paint(
            tmp_path / "photos" / ("cat" if number % 2 else "dog") / f"{number}.png",
            (30 * number, 200 - 30 * number, 90),
            (80 + 20 * number, 60),
            number,
        )
    done = script("predict.py", "ckpt=a.ckpt", "input=photos", "output=out")
    assert done.code == 0, done.err
    assert "report.html" in done.out + done.err
    return model, tmp_path / "out"


def state(page):
    return page.evaluate(
        "() => ({...camexp.gallery.viewer.state, label: camexp.gallery.viewer.label, hash: location.hash})"
    )


def picture(page):
    return page.evaluate("() => camexp.gallery.viewer.stages[0].canvas.toDataURL()")


@pytest.mark.slow
def test_a_wall_a_click_a_class(predicted, open_page):
    model, out = predicted
    page = open_page(out / "report.html")
    page.wait_for_selector(".tile")
    assert page.locator(".tile").count() == 6
    assert page.title() == "Where the network looked"
    page.locator(".tile").nth(2).click()
    page.wait_for_function("() => camexp.gallery.viewer.stages[0].found?.length")
    with (out / "predictions.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[2]
    assert model.classes[state(page)["label"]] == row["class"]
    assert row["top1_probability"].startswith(page.locator(".class .p").first.inner_text()[:4])

    before = picture(page)
    names = page.locator(".class .name").all_inner_texts()
    assert len(names) == 5  # every class has its map, without another request
    page.keyboard.press("ArrowDown")
    page.wait_for_function("before => camexp.gallery.viewer.stages[0].canvas.toDataURL() !== before", arg=before)
    assert model.classes[state(page)["label"]] == names[1]
    page.locator("input[type=search][list]").first.fill("dog")
    page.keyboard.press("Enter")
    assert model.classes[state(page)["label"]] == "dog"
    page.locator(".viewer .class").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => location.hash.includes('image=3')")
    assert page.requests == []


@pytest.mark.slow
def test_a_link_restores_what_was_seen(predicted, open_page):
    _, out = predicted
    page = open_page(
        out / "report.html", "#image=1&class=1&with=0&view=two&threshold=0.4&map=viridis&scale=map&wall.sort=sure"
    )
    page.wait_for_function("() => camexp.gallery.viewer.stages[1].found")
    now = state(page)
    assert (now["label"], now["view"], now["threshold"], now["map"], now["scale"]) == (1, "two", 0.4, "viridis", "map")
    assert page.locator("figcaption").all_inner_texts()[1].startswith("cat")
    again = open_page(out / "report.html", now["hash"])
    again.wait_for_function("() => camexp.gallery.viewer.stages[1].found")
    assert state(again) == now


@pytest.mark.slow
def test_the_box_follows_the_threshold(predicted, open_page):
    model, out = predicted
    page = open_page(out / "report.html", "#image=5")
    page.wait_for_function("() => camexp.gallery.viewer.stages[0].found")
    packed = page.evaluate("() => camexp.gallery.items[5].maps")
    path, size = page.evaluate("() => [camexp.gallery.items[5].path, camexp.gallery.items[5].size]")
    with Image.open(out.parent / path) as image:
        assert [image.height, image.width] == size
        expected = model.explain(model.preprocess(image)[None], "all").maps
    held = page.evaluate("""() => { const {maps} = camexp.gallery.viewer.ready;
        return [...Array(maps.count).keys()].map(k => Array.from(maps.values(k))) }""")
    maps = torch.tensor(held, dtype=torch.float32).reshape(expected[0].shape)
    spread = (expected[0].amax((1, 2)) - expected[0].amin((1, 2)))[:, None, None]
    assert ((maps - expected[0]).abs() <= spread / 500).all()
    assert packed["shape"] == list(expected[0].shape)
    for label in range(len(model.classes)):
        for threshold in (0.1, 0.2, 0.55, 0.9):
            page.evaluate(
                "([label, t]) => { camexp.gallery.viewer.choose(label); camexp.gallery.viewer.set('threshold', t) }",
                [label, threshold],
            )
            found = page.evaluate("() => camexp.gallery.viewer.stages[0].found.map(part => part.box)")
            box = box_from_map(upsample(maps[None, label : label + 1], tuple(size))[0, 0].numpy(), threshold)
            assert (tuple(found[0]) if found else None) == box


@pytest.mark.slow
def test_names_are_text(script, tmp_path, open_page):
    save_network(tmp_path / "a.ckpt", ["cat", *HOSTILE])
    names = ["<b>bold.png", "quo\"te's &lt;.png", "‮gnp.right-to-left.png", "n" * 240 + ".png"]
    for number, name in enumerate(names):
        paint(tmp_path / "in" / name, (200, 40 * number, 40), (70, 50), number)
    assert script("predict.py", "ckpt=a.ckpt", "input=in", "output=out").code == 0
    page = open_page(tmp_path / "out" / "report.html", "#image=0")
    page.wait_for_selector(".class")
    assert page.title() == "Where the network looked"
    assert page.locator("img, script[src], b:not(.places b)").count() == 0
    assert sorted(page.evaluate("() => camexp.gallery.items.map(item => item.name)")) == sorted(names)
    assert set(page.locator(".class .name").all_inner_texts()) <= {
        "cat",
        *(re.sub(r"\s+", " ", name) for name in HOSTILE),
    }
    assert page.requests == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_everybody_can_use_it(predicted, open_page, scheme, width):
    """axe-core's rules: names, roles, contrast AA; on a phone nothing is wider than the screen."""
    _, out = predicted
    context = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
    for hash in ("", "#image=1&view=two"):
        page = open_page(out / "report.html", hash, **context)
        page.wait_for_selector(".class" if hash else ".tile")
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
        assert not found, json.dumps([(one["id"], [node["html"] for node in one["nodes"]]) for one in found], indent=1)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def made_up_item(number, size=(30, 40)):
    rng = np.random.default_rng(number)
    return item(
        f"{number}.jpg",
        f"in/{number}.jpg",
        size,
        PIXEL,
        rng.normal(size=3),
        rng.normal(size=(3, 4, 5)),
        [0, 1, 2],
        number % 3,
        area=0.5,
    )


PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.mark.slow
def test_a_large_report_is_a_folder_of_which_what_is_in_view_is_read(tmp_path, open_page, monkeypatch):
    monkeypatch.setattr("camexp.viewer.report.MOST_IN_ONE_FILE", 100)
    page = {"meta": meta(["a", "b", "c"], True)}
    with ImageReport(tmp_path / "report.html", 500, "many", page) as report:
        for number in range(500):
            report.skip(number) if number == 7 else report.add(number, made_up_item(number))
    files = sorted(path.name for path in (tmp_path / "report_data").iterdir())
    assert files == [f"data_{number:04d}.js" for number in range(1, 11)]
    assert (tmp_path / "report.html").stat().st_size < 200_000
    seen = open_page(tmp_path / "report.html")
    seen.wait_for_function("() => camexp.gallery.items[0].maps")
    read = lambda: seen.evaluate("() => camexp.gallery.items.filter(item => item.maps).length")  # noqa: E731
    assert 0 < read() < 499
    assert seen.locator(".slot").count() < 100
    seen.evaluate("() => scrollTo(0, document.body.scrollHeight)")
    seen.wait_for_function("() => camexp.gallery.items.at(-1).maps")
    assert seen.evaluate("() => camexp.gallery.items[7].name") == "8.jpg"  # the one before it was skipped
    last = seen.evaluate("() => { const {name, maps} = camexp.gallery.items.at(-1); return {name, maps} }")
    assert last == {key: made_up_item(499)[key] for key in ("name", "maps")}
    again = open_page(tmp_path / "report.html", "#image=450")
    again.wait_for_function("() => camexp.gallery.viewer.stages[0].found")
    assert again.evaluate("() => camexp.gallery.viewer.item.name") == "451.jpg"


def test_what_was_done_before_an_interruption_is_in_it(tmp_path):
    with pytest.raises(KeyboardInterrupt), ImageReport(tmp_path / "report.html", 3, "part", {}) as report:
        report.add(1, made_up_item(1))
        raise KeyboardInterrupt
    assert "1.jpg" in (tmp_path / "report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_it_can_be_left_out(script, tmp_path):
    save_network(tmp_path / "a.ckpt", ["cat", "dog"])
    paint(tmp_path / "a.png", (200, 30, 30))
    assert script("predict.py", "ckpt=a.ckpt", "input=a.png", "output=out", "report=false").code == 0
    assert not (tmp_path / "out" / "report.html").exists()
    assert script("predict.py", "ckpt=a.ckpt", "input=a.png", "output=out").code == 0
    assert (tmp_path / "out" / "report.html").exists()


def test_what_is_not_finite_is_left_out_and_told(script, tmp_path):
    model = save_network(tmp_path / "a.ckpt", ["cat", "dog"])
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    state["classifier.head.linear.weight"] = torch.full_like(state["classifier.head.linear.weight"], 3e38)  # overflows
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "b.ckpt")
    paint(tmp_path / "a.png", (200, 30, 30))
    done = script("predict.py", "ckpt=b.ckpt", "input=a.png", "output=out")
    assert done.code == 0, done.err
    assert "a.png is left out of report.html: its maps or logits are not finite" in done.out + done.err
    assert (tmp_path / "out" / "maps" / "a.mat").exists()
    assert 'class="items"' not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
