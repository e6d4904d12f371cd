"""The report of evaluate.py: its data against the evaluation's own figures, and the page as its reader uses it."""

import base64
import csv
import json

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from camexp.cam import upsample
from camexp.evaluation.box_curve import PER_UNIT, POINTS
from camexp.viewer import unpack_maps
from tests.conftest import paint
from tests.viewer.test_prediction_report import HOSTILE, save_network

CLASSES = ["cat", "dog", HOSTILE[1].replace("/", "")]
COUNT = 12
BOXES = {
    0: [(5, 5, 40, 30)],
    1: [(20, 10, 60, 50), (0, 0, 9, 9)],
    3: [(0, 0, 79, 59)],
    4: [(30, 30, 50, 50)],
    8: [(8, 2, 70, 40)],
}


@pytest.fixture
def ready(tmp_path):
    """A network with weights of no training, photographs of three classes, and boxes of five of them."""
    save_network(tmp_path / "a.ckpt", CLASSES)
    rows = ["image,x0,y0,x1,y1"]
    for number in range(COUNT):
        name = f"{CLASSES[number % 3]}/{number}.png"
        paint(tmp_path / "photos" / name, (20 * number, 200 - 15 * number, 90), (80, 60), number)
        rows += [",".join(['"' + name.replace('"', '""') + '"', *map(str, box)]) for box in BOXES.get(number, [])]
    (tmp_path / "boxes.csv").write_text("\n".join(rows))
    return tmp_path


@pytest.fixture
def evaluate(script, ready):
    def run(*more):
        return script("evaluate.py", "ckpt=a.ckpt", "dataset=imagefolder", "dataset.root=photos", "boxes=boxes.csv", "output=out",
                      "part=all", "sheet.images=0", "size=112", *more)  # fmt: skip

    return run


def data_of(path):
    """The page's items and the rest, as Python reads them."""
    text = path.read_text(encoding="utf-8")
    items = [json.loads(part.split("</script>")[0]) for part in text.split('class="items">')[1:]]
    return [one for block in items for one in block], json.loads(text.split('id="page">')[1].split("</script>")[0])


def levels(item, method):
    return np.frombuffer(base64.b64decode(item["fits"][method]), np.uint8)


def boxes(item, method):
    measured = item["methods"][method]
    return np.frombuffer(base64.b64decode(measured["boxes"]), np.uint8 if measured["bytes"] == 1 else "<u2").reshape(
        POINTS, 4
    )


@pytest.mark.slow
@pytest.mark.parametrize("label", ["true", "top5"])
def test_the_page_holds_the_evaluation_s_own_numbers(evaluate, ready, label):
    """At each threshold of the grid, ``threshold.from`` makes the evaluation write the boxes and IoUs it finds there."""
    done = evaluate("cam=cam,gradcam", f"label={label}")
    assert done.code == 0, done.err
    items, page = data_of(ready / "out" / "report.html")
    assert len(items) == COUNT and page["methods"] == ["cam", "gradcam"]
    assert [item["size"] for item in items] == [[60, 80]] * COUNT
    by_path = {item["path"]: item for item in items}
    assert sum(bool(item["fits"]) for item in items) == len(BOXES)
    metrics = json.loads((ready / "out" / "metrics.json").read_text())["methods"]
    assert page["thresholds"] == {name: metrics[name]["threshold"] for name in metrics}
    for point in (0, 20, 57, 100):
        chosen = ready / "chosen"
        chosen.mkdir(exist_ok=True)
        one = {"threshold": point / 100, "best_threshold": point / 100, "best_threshold_v2": point / 100}
        (chosen / "metrics.json").write_text(json.dumps({"methods": {name: metrics[name] | one for name in metrics}}))
        assert (
            evaluate("cam=cam,gradcam", f"label={label}", "threshold.from=chosen", "report=false", "output=again").code
            == 0
        )
        with (ready / "again" / "per_image.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["iou"]]
        assert len(rows) == 2 * len(BOXES)
        for row in rows:
            item = by_path[row["path"].split("photos/")[1]]
            level = levels(item, row["method"])[point]
            assert level <= float(row["iou"]) * PER_UNIT + 0.013  # the table has four decimals
            assert level + 1 > float(row["iou"]) * PER_UNIT - 0.013
            assert boxes(item, row["method"])[point].tolist() == [int(row[side]) for side in ("x0", "y0", "x1", "y1")]
        again = json.loads((ready / "again" / "metrics.json").read_text())["methods"]
        for name in metrics:
            right = [levels(item, name)[point] >= PER_UNIT // 2 for item in items if name in item["fits"]]
            assert np.mean(right) == pytest.approx(again[name]["GT_known_localisation"])


@pytest.mark.slow
def test_maps_are_plain_cam_s_and_each_method_s(evaluate, ready):
    from camexp import load
    from camexp.images import read_image

    assert evaluate("cam=cam,gradcam").code == 0
    items, _ = data_of(ready / "out" / "report.html")
    model = load(ready / "a.ckpt", "cpu")
    for item in items[:4]:
        image = model.preprocess(read_image(ready / "photos" / item["path"]))[None]
        expected = model.explain(image, "all").maps[0].detach().numpy()
        spread = (expected.max((1, 2)) - expected.min((1, 2)))[:, None, None]
        assert (np.abs(unpack_maps(item["maps"]) - expected) <= spread / 500 + 1e-5).all()
        assert item["labels"] == list(range(len(CLASSES)))
        if item["fits"]:
            assert "maps" not in item["methods"]["cam"]
            assert item["methods"]["gradcam"]["labels"] == [item["truth"]]
            made = unpack_maps(item["methods"]["gradcam"]["maps"])[0]
            assert made.shape == expected.shape[1:] and made.max() > 0


@pytest.mark.slow
def test_it_can_be_left_out(evaluate, ready):
    done = evaluate("report=false")
    assert done.code == 0, done.err
    assert not (ready / "out" / "report.html").exists() and "report.html" not in done.out + done.err
    with_page = evaluate()
    assert "report.html" in with_page.out + with_page.err and (ready / "out" / "report.html").exists()


@pytest.mark.slow
def test_a_click_on_confusions_and_classes_shows_their_images(evaluate, ready, open_page):
    assert evaluate().code == 0
    page = open_page(ready / "out" / "report.html")
    page.wait_for_selector(".tile")
    with (ready / "out" / "confusion.csv").open(newline="") as file:
        counts = [row[1:] for row in csv.reader(file)][1:]
    cells = page.locator(".matrix tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.textContent || '0'))"
    )
    assert cells == counts
    truth, best = next((i, j) for i in range(3) for j in range(3) if i != j and int(counts[i][j]))
    page.locator(".matrix tbody tr").nth(truth).locator("td").nth(best).locator("button").click()
    shown = page.evaluate("() => camexp.gallery.wall.shown.map(row => [row.truth, row.best])")
    assert shown == [[truth, best]] * int(counts[truth][best])
    again = open_page(ready / "out" / "report.html", page.evaluate("() => location.hash"))
    again.wait_for_selector(".strip .tile")
    assert again.evaluate("() => camexp.gallery.wall.shown.map(row => [row.truth, row.best])") == shown
    page.get_by_role("button", name="Show all images").click()
    assert page.evaluate("() => camexp.gallery.wall.shown.length") == COUNT
    page.locator(".row-name", has_text="dog").first.press("Enter")
    assert page.evaluate("() => camexp.gallery.wall.shown.map(row => row.truth)") == [1] * (COUNT // 3)
    with (ready / "out" / "per_class.csv").open(newline="") as file:
        recalls = {row["class"]: float(row["recall"]) for row in csv.DictReader(file)}
    # what was filtered before does not hide what is asked for
    page.get_by_label("Outcome").select_option("right")
    page.get_by_label("Path contains").fill("nowhere")
    page.locator(".matrix tbody tr").nth(truth).locator("td").nth(best).locator("button").click()
    assert page.evaluate("() => camexp.gallery.wall.shown.map(row => [row.truth, row.best])") == shown
    assert page.get_by_label("Outcome").input_value() == page.get_by_label("Path contains").input_value() == ""
    head = page.get_by_role("button", name="Recall, %")
    head.click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Recall")
    sorted_ = page.locator(".classes tbody .row-name").all_inner_texts()
    assert [recalls[name] for name in sorted_] == sorted(recalls.values(), reverse=True)
    assert page.title() == "How well the maps fit" and page.locator("img, script[src]").count() == 0
    assert page.requests == []


@pytest.mark.slow
def test_curves_worst_and_best_follow_the_threshold(evaluate, ready, open_page):
    assert evaluate("cam=cam,gradcam").code == 0
    items, _ = data_of(ready / "out" / "report.html")
    page = open_page(ready / "out" / "report.html")
    page.wait_for_selector(".strip .tile")
    slider = page.get_by_role("slider", name="Threshold", exact=True)
    for point in (10, 45, 90):
        slider.fill(str(point / 100))
        page.wait_for_function(
            "point => camexp.boxes.slide.querySelector('output').textContent === (point / 100).toFixed(2) && camexp.boxes.charts[0][0].at === point / 100",
            arg=point,
        )
        fits = {
            name: np.array([levels(item, name)[point] for item in items if name in item["fits"]])
            for name in ("cam", "gradcam")
        }
        row = page.locator(".charts tbody tr").first.locator("td").all_inner_texts()
        expected = [f"{100 * np.mean(fits['cam'] >= least):.1f}" for least in (75, 125, 175)]
        assert row == [*expected, f"{fits['cam'].mean() / PER_UNIT:.3f}", str(len(BOXES))]
        shown = page.locator(".strip .tile:visible .name").all_inner_texts()
        ranked = np.sort(fits["cam"]) / PER_UNIT
        assert shown == [f"IoU {iou:.2f}" for iou in [*ranked[:2], *ranked[::-1][:2]]]
    # the curve's cursor is the same threshold
    page.locator(".plot").first.press("Home")
    page.wait_for_function("() => camexp.boxes.state.at === 0")
    assert slider.input_value() == "0"
    page.get_by_label("Method of the boxes below").select_option("gradcam")
    slider.fill("0.3")
    page.wait_for_function("() => location.hash.includes('eval.at=0.3')")
    again = open_page(ready / "out" / "report.html", page.evaluate("() => location.hash"))
    again.wait_for_selector(".strip .tile")
    assert again.evaluate("() => camexp.boxes.state") == {"at": 30, "method": "gradcam", "iou": 0.5}
    assert page.requests == []


@pytest.mark.slow
def test_masks_and_the_curves_of_all_images(evaluate, ready, open_page):
    """The page's curves give the evaluation's own figures, and the viewer's overlap with a mask is that of its pixels."""
    drawn = {}
    for number in range(4):
        name = f"{CLASSES[number % 3]}/{number}.png"
        mask = drawn[name] = np.zeros((60, 80), np.uint8)
        mask[5 + 4 * number : 45, 10 : 30 + 12 * number] = 255
        (ready / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(ready / "masks" / name)
    ignored = np.zeros((60, 80), np.uint8)
    ignored[40:55] = 255
    Image.fromarray(ignored).save(ready / "masks" / CLASSES[0] / "0_ignore.png")
    done = evaluate("cam=cam,gradcam", "masks=masks")
    assert done.code == 0, done.err
    items, data = data_of(ready / "out" / "report.html")
    assert {item["path"] for item in items if "mask" in item} == set(drawn)
    curves = data["curves"]
    for name, one in json.loads((ready / "out" / "metrics.json").read_text())["methods"].items():
        assert curves["ious"] == [0.3, 0.5, 0.7] == [float(iou) for iou in one["MaxBoxAccV2_by_iou"]]
        for curve, best in zip(curves["boxes"][name], one["MaxBoxAccV2_by_iou"].values(), strict=True):
            assert len(curve) == POINTS and best - 1 / len(BOXES) <= max(curve) <= best + 1e-5
        pixels = curves["pixels"][name]
        assert one["PxIoU"] - 0.02 <= max(pixels["iou"]) <= one["PxIoU"] + 1e-5
        area = sum(
            p * (r - s)
            for p, r, s in zip(pixels["precision"], pixels["recall"], [*pixels["recall"][1:], 0], strict=True)
        )
        assert area == pytest.approx(one["PxAP"], abs=0.02)
    page = open_page(ready / "out" / "report.html")
    page.wait_for_function("() => camexp.curves?.charts.length === 3")
    page.get_by_label("Right is").select_option("2")
    shown = page.evaluate(
        "() => camexp.curves.charts[0].series.map(one => [one.name, one.points.map(point => point[1] / 100)])"
    )
    assert [(name, pytest.approx(values)) for name, values in shown] == [
        (name, one[2]) for name, one in curves["boxes"].items()
    ]
    for number, (path, mask) in enumerate(drawn.items()):
        page.evaluate(
            "async path => { await camexp.gallery.open(camexp.gallery.items.find(item => item.path === path)); }", path
        )
        page.wait_for_function(
            "path => camexp.gallery.viewer.item.path === path && camexp.gallery.viewer.maskOverlap !== null", arg=path
        )
        state = page.evaluate("""() => { const { viewer } = camexp.gallery, { item, label, state } = viewer;
            return { row: item.labels.indexOf(label), threshold: state.threshold, overlap: viewer.maskOverlap,
                caption: viewer.stages[0].caption.textContent } }""")
        item = next(one for one in items if one["path"] == path)
        full = upsample(torch.from_numpy(unpack_maps(item["maps"])[state["row"]])[None, None], (60, 80))[0, 0].numpy()
        counted = np.ones((60, 80), bool) if number else (ignored == 0) | (mask > 0)
        found = (full > np.float32(state["threshold"]) * full.max()) & counted
        assert state["overlap"] == pytest.approx((found & (mask > 0)).sum() / (found | (mask > 0)).sum(), abs=2e-3)
        assert f"IoU of all parts with the true mask {state['overlap']:.2f}" in state["caption"]
    page.get_by_label("Outlines").select_option("masks")
    page.wait_for_function("() => camexp.gallery.viewer.state.shapes === 'masks'")
    green = page.evaluate("""() => { const { canvas } = camexp.gallery.viewer.stages[0], { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let sum = 0; for (let i = 0; i < data.length; i += 4) sum += data[i] < 90 && data[i + 1] > 230 && data[i + 2] < 140; return sum }""")
    assert green > 500  # the true mask's outline
    assert page.requests == []


@pytest.mark.slow
def test_methods_side_by_side_have_one_cursor(evaluate, ready, open_page):
    assert evaluate("cam=cam,gradcam").code == 0
    page = open_page(ready / "out" / "report.html")
    page.locator(".strip .tile:visible").first.click()
    page.wait_for_function("() => camexp.boxes.compare.stages[2].found?.length")
    captions = page.locator(".compare .side figcaption").all_inner_texts()
    assert captions[0] == "photograph" and captions[1].startswith("cam: ") and captions[2].startswith("gradcam: ")
    assert page.locator(".strip .tile:visible .name").first.inner_text() in captions[1]
    page.locator(".compare canvas.picture").nth(1).hover(position={"x": 30, "y": 20})
    values = page.locator(".compare .side output").all_inner_texts()
    assert len(values) == 2 and all(text.startswith("there ") for text in values)
    assert page.locator(".compare .cross").count() == 3
    page.get_by_role("button", name="All classes in the viewer").click()
    page.wait_for_function("() => camexp.gallery.viewer.stages[0].found")
    state = page.evaluate(
        "() => ({label: camexp.gallery.viewer.label, truth: camexp.gallery.viewer.item.truth, chosen: camexp.boxes.chosen === camexp.gallery.viewer.item})"
    )
    assert state["label"] == state["truth"] and state["chosen"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 400])
def test_everybody_can_use_it(evaluate, ready, open_page, scheme, width):
    """axe-core's rules: names, roles, contrast AA; on a phone nothing is wider than the screen."""
    assert evaluate("cam=cam,gradcam").code == 0
    page = open_page(
        ready / "out" / "report.html", color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
    )
    page.locator(".strip .tile:visible").first.click()
    page.wait_for_function("() => camexp.boxes.compare.item")
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
    assert not found, json.dumps([(one["id"], [node["html"] for node in one["nodes"]]) for one in found], indent=1)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_many_classes_are_a_list_of_pairs(open_page, tmp_path):
    from camexp.viewer import GALLERY, write_page

    write_page(tmp_path / "page.html", "pairs", (*GALLERY, "table", "matrix"), {})
    page = open_page(tmp_path / "page.html")
    pairs = page.evaluate("""() => {
        const items = [[0, 1], [0, 1], [0, 0], [2, 1], [5, 5]].map(([truth, best]) => ({truth, best}));
        const clicked = [], node = camexp.confusionTable(items, [...Array(31).keys()].map(i => `class ${i}`), (...pair) => clicked.push(pair));
        document.body.append(node);
        node.querySelector("tbody tr").click();
        return { clicked, rows: [...node.querySelectorAll("tbody tr")].map(row => [...row.children].map(cell => cell.textContent)) };
    }""")
    squares = page.evaluate("""() => { const {data, width} = (canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height))(document.querySelector(".grid-matrix canvas"));
        return [...Array(width * width).keys()].filter(i => data[4 * i + 3]).map(i => [Math.floor(i / width), i % width]) }""")
    assert squares == [[0, 0], [0, 1], [2, 1], [3, 3]]  # of the classes that occur: 0, 1, 2 and 5
    box = page.locator(".grid-matrix canvas").bounding_box()
    page.locator(".grid-matrix canvas").hover(position={"x": 0.3 * box["width"], "y": 0.1 * box["height"]})
    assert page.locator(".grid-matrix output").inner_text() == "class 0 taken for class 1: 2 of 3"
    assert pairs["rows"] == [["class 0", "class 1", "2", "67"], ["class 2", "class 1", "1", "100"]]
    assert pairs["clicked"] == [[0, 1]]
