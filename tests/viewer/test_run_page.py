"""The report of train.py and that of a sweep, as their reader uses them."""

import csv
import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe

from camexp.viewer.run_page import write_run_page
from tests.conftest import COLOURS, TINY, paint
from tests.viewer.conftest import settle

HOSTILE = "a<b>&lt;'x' שלום"


@pytest.fixture
def run(script, tmp_path):
    for name, colour in {**COLOURS, HOSTILE: (90, 90, 20)}.items():
        for number in range(6):
            paint(tmp_path / "photos" / name / f"{number}.png", colour, seed=number)

    def call(*arguments):
        done = script("train.py", "dataset=imagefolder", "dataset.root=photos", *TINY, "logger=csv", "optimizer.lr=1e-2",
                      "trainer.log_every_n_steps=1", "inspect.every_n_steps=2", *arguments)  # fmt: skip
        assert done.code == 0, done.err
        return done

    return call


def seen(page):
    return page.evaluate("""() => ({ step: camexp.scrubber.item.step, label: camexp.scrubber.viewer.label,
        shown: camexp.scrubber.viewer.item.step, readout: document.querySelector(".step").textContent,
        picture: camexp.scrubber.viewer.stages[0].canvas.toDataURL() })""")


def ready(page):
    page.wait_for_function("() => camexp.scrubber.viewer.stages[0].found && document.querySelector('.frame')")


@pytest.mark.slow
def test_maps_at_every_step(run, tmp_path, open_page):
    done = run("hydra.run.dir=run", "inspect.image=[photos/red/0.png,photos/blue/1.png]")
    assert "run/report.html" in done.out
    page = open_page(tmp_path / "run/report.html")
    ready(page)
    last = seen(page)
    with (tmp_path / "run/cams/steps.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["panel"] == "0"]
    steps = [int(row["step"]) for row in rows]
    assert page.evaluate("() => camexp.scrubber.player.steps") == steps
    assert (last["step"], last["readout"]) == (steps[-1], f"step {steps[-1]}")

    classes = page.evaluate("() => camexp.scrubber.meta.classes")
    assert set(classes) == {*COLOURS, HOSTILE}
    assert classes[last["label"]] == "red"  # its own class
    for index, row in enumerate(rows):  # the probabilities are those that the snapshots say
        chance = "([i, label]) => camexp.unpack(camexp.scrubber.film.items[i]).chances[label]"
        assert page.evaluate(chance, [index, last["label"]]) == pytest.approx(float(row["probability"]), abs=2e-6)

    page.locator(".player input[type=range]").focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => camexp.scrubber.viewer.item.step === 0 && location.hash.includes('step=0')")
    first = seen(page)
    assert first["readout"] == "step 0" and first["picture"] != last["picture"]

    page.locator(".viewer .class", has_text=HOSTILE).click()
    other = seen(page)
    assert classes[other["label"]] == HOSTILE and other["step"] == 0 and other["picture"] != first["picture"]
    page.keyboard.press("ArrowRight")  # as to the next image elsewhere
    page.wait_for_function("() => camexp.scrubber.viewer.item.step === 2")

    plot = page.locator(".panel .plot").first  # the loss: dragging there is scrubbing
    plot.focus()
    page.keyboard.press("End")
    page.wait_for_function("last => camexp.scrubber.viewer.item.step === last", arg=steps[-1])
    box = plot.bounding_box()
    page.mouse.click(box["x"] + 45, box["y"] + box["height"] / 2)
    page.wait_for_function("() => camexp.scrubber.viewer.item.step === 0")
    assert "step 0" in plot.get_attribute("aria-valuetext")

    page.locator("h1").click()
    page.keyboard.press("Space")  # plays to the end
    page.wait_for_function(
        "last => camexp.scrubber.viewer.item.step === last && !camexp.scrubber.player.playing", arg=steps[-1]
    )
    page.locator(".tabs button").nth(1).click()
    page.wait_for_function("() => camexp.scrubber.viewer.item.name === '1.png'")
    assert classes[seen(page)["label"]] == "blue"
    assert page.requests == []


@pytest.mark.slow
def test_a_link_restores_the_step_and_the_class(run, tmp_path, open_page):
    run("hydra.run.dir=run")
    page = open_page(tmp_path / "run/report.html", "#step=2&class=1&scale=image")
    ready(page)
    now = seen(page)
    assert (now["step"], now["shown"], now["label"]) == (2, 2, 1)
    assert page.evaluate("() => camexp.scrubber.viewer.state.scale") == "image"


@pytest.mark.slow
def test_what_differs_is_marked_and_the_curves_are_the_tables(run, tmp_path, open_page):
    run("hydra.run.dir=run")
    page = open_page(tmp_path / "run/report.html")
    ready(page)
    changed = {row.split("\t")[0]: row.split("\t")[1:] for row in page.locator("tr.changed").all_inner_texts()}
    assert changed["optimizer.lr"] == ["0.01", "0.001", "● given"]
    assert changed["batch_size"][:2] == ["8", "32"]
    assert "seed" not in changed and "optimizer" not in changed
    data = page.evaluate("() => camexp.pageData('page')")
    with (tmp_path / "run/metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    curves = {(curve["title"], line["name"]): line["points"] for curve in data["curves"] for line in curve["series"]}
    for key, column in {
        ("Loss", "training batch"): "train/loss",
        ("Accuracy", "validation"): "val/accuracy",
        ("Learning rate", "learning rate"): "lr",
    }.items():
        assert curves[key] == [[int(row["step"]), float(row[column])] for row in rows if row[column]]
    facts = dict(map(tuple, data["facts"]))
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert facts["torch"] == summary["versions"]["torch"] and facts["device"] == summary["device"]
    assert f"{summary['final']['val/accuracy']:.4f}" in page.locator(".head").inner_text()
    assert "still trains" not in page.locator(".head").inner_text()


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 400)])
def test_everybody_can_use_it(run, tmp_path, open_page, scheme, width):
    run("hydra.run.dir=runs/0", "optimizer.lr=1e-3")
    run("hydra.run.dir=runs/1", "trainer.max_epochs=1")
    from camexp.cli.compare import main

    assert main([str(tmp_path / "runs")]) == 0
    for name in ("0/report.html", "compare.html"):
        page = open_page(
            tmp_path / "runs" / name, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True
        )
        page.wait_for_selector(".frame, .job-tile")
        settle(page)
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}).response["violations"]
        assert not found, json.dumps([(one["id"], [node["html"] for node in one["nodes"]]) for one in found], indent=1)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


@pytest.mark.slow
def test_a_sweep_side_by_side(run, tmp_path, open_page):
    for number, rate in enumerate(("1e-2", "1e-3", "1e-5")):
        run(f"hydra.run.dir=runs/{number}", f"optimizer.lr={rate}", "inspect.image=photos/red/0.png")
    from camexp.cli.compare import main

    assert main([str(tmp_path / "runs")]) == 0
    page = open_page(tmp_path / "runs/compare.html", "#step=2")
    page.wait_for_function(
        "() => document.querySelectorAll('.job-tile canvas').length === 3 && camexp.jobMaps.tiles.every(tile => tile.caption.textContent)"
    )
    assert page.evaluate("() => camexp.pageData('page').photos.length") == 1  # once, however many jobs
    captions = page.locator(".job-tile figcaption .p").all_inner_texts()
    assert all(text.startswith("step 2, p = ") for text in captions)
    pictures = "() => camexp.jobMaps.tiles.map(tile => tile.canvas.toDataURL())"
    before = page.evaluate(pictures)
    assert len(set(before)) > 1
    page.locator(".controls select").first.select_option(HOSTILE)
    page.wait_for_function(f"before => ({pictures})()[0] !== before", arg=before[0])

    handle = page.get_by_role("slider", name="optimizer.lr, at least")
    handle.focus()
    for _ in range(2):
        page.keyboard.press("PageUp")
    assert page.evaluate("() => [...camexp.parallel.chosen].length") == 2
    assert page.locator(".job-tile:visible").count() == 2 and page.locator("tbody tr:visible").count() == 2
    page.get_by_role("button", name="All jobs").click()
    assert page.locator("tbody tr:visible").count() == 3
    page.get_by_role("button", name="optimizer.lr").click()
    assert re.findall(r"^\d", page.locator("tbody tr").first.inner_text()) == ["0"]
    assert page.requests == []


@pytest.mark.slow
def test_it_can_be_left_out_and_made_later(run, tmp_path, open_page):
    run("hydra.run.dir=run", "report=false", "trainer.max_steps=1")
    folder = tmp_path / "run"
    assert not (folder / "report.html").exists() and not (folder / "cams/maps.jsonl").exists()
    page = open_page(write_run_page(folder))  # of a run without the maps: curves and configuration
    page.wait_for_selector(".chart .plot")
    assert page.locator(".scrubber").count() == 0
    assert page.locator(".chart b").all_inner_texts()[0] == "Loss"


def test_an_empty_folder_has_a_page(tmp_path):
    text = write_run_page(tmp_path).read_text()
    assert tmp_path.name in text and [path.name for path in tmp_path.iterdir()] == ["report.html"]
