"""explore's page, as its user works with it: a browser that may ask this server and nobody else."""

from __future__ import annotations

import shutil
import time
from contextlib import ExitStack

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.conftest import PATIENCE, paint
from tests.explore.conftest import CLASSES, picture, running_server, save_network
from tests.viewer.conftest import NAMES, settle

HOSTILE = [
    '</script><script>document.title="owned"</script>',
    "a\"b'c&amp;<img src=x onerror=alert(1)>",
    "שלום " + "ל" * 120,
]
READY = (
    "camexp.explore.images.length && camexp.explore.images.every(i => i.items || i.error) && !camexp.explore.busy.size"
)

pytestmark = pytest.mark.slow


def until(page, condition):
    """Wait for a script to say yes: playwright's own way needs eval, which the page's policy forbids."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(condition):
        assert time.monotonic() < end, (condition, page.locator("body").inner_text())
        page.wait_for_timeout(30)


def file(name, data=None, **kinds):
    return {"name": name, "mimeType": "image/png", "buffer": picture(**kinds) if data is None else data}


@pytest.fixture
def explored(chromium):
    """``explored(ckpt=…, **options)``: the page of a server, which fails the test on a script's error, on what its policy
    forbids, and on a request to anybody else."""
    contexts, errors = [], []

    with ExitStack() as stack:

        def open_(context=None, **values):
            server = stack.enter_context(running_server(**values))
            page = chromium.new_page(viewport={"width": 1400, "height": 900}, **(context or {}))
            contexts.append(page.context)
            page.set_default_timeout(PATIENCE * 1000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.asked, page.server = [], server
            page.on("request", lambda request: page.asked.append(request.url))
            page.goto(f"http://127.0.0.1:{server.port}/")
            return page

        yield open_
        for context in contexts:
            for page in context.pages:
                own = (f"http://127.0.0.1:{page.server.port}/", "blob:", "data:")
                errors += [url for url in page.asked if not url.startswith(own)]
            context.close()
    assert not errors, errors


@pytest.fixture
def ckpt(tmp_path):
    return str(save_network(tmp_path / "a.ckpt"))


def pixels(page):
    return page.evaluate("camexp.explore.viewers.map(viewer => viewer.stages[0].canvas.toDataURL())")


def test_a_class_is_chosen_without_a_request(explored, ckpt):
    page = explored(ckpt=ckpt)
    page.set_input_files("#files", [file("photo.png")])
    until(page, READY)
    page.locator(".viewer canvas.picture").first.wait_for()
    assert [url.rpartition("/")[2].partition("?")[0] for url in page.asked if url.startswith("http")] == ["", "explain"]
    asked, before = len(page.asked), pixels(page)
    assert page.locator(".bars button").count() == len(CLASSES)
    page.locator(".bars button").nth(3).click()
    chosen = page.locator(".bars [aria-pressed=true] .name").inner_text()
    until(page, f"camexp.explore.viewers[0].stages[0].caption.textContent.includes({chosen!r})")
    assert pixels(page) != before and page.asked[asked:] == []


def test_dropped_and_pasted(explored, ckpt):
    page = explored(ckpt=ckpt)
    send = """([kind, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], kind + ".png", { type: "image/png" }));
        const event = kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true })
            : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.evaluate(send, [kind, list(picture())])
    until(page, f"camexp.explore.images.length === 2 && {READY}")
    assert page.locator(".thumb > .name").all_inner_texts() == ["drop.png", "paste.png"]


def test_too_many_too_large_and_no_image(explored, ckpt):
    page = explored(ckpt=ckpt, limits={"images": 3, "megabytes": 0.05})
    page.set_input_files("#files", [file(f"{number}.png", seed=number) for number in range(4)])
    assert "4 images are more than are taken at once (3, limits.images)" in page.locator("[role=alert]").inner_text()
    until(page, READY)
    assert page.locator(".thumb").count() == 3
    asked = len(page.asked)
    page.set_input_files("#files", [file("large.png", size=(300, 200))])
    assert page.locator("[role=alert]").inner_text() == "large.png has more than 0.05 MB (limits.megabytes)."
    assert page.asked[asked:] == []


def test_what_is_no_image_is_told_and_the_rest_is_shown(chromium, ckpt):
    with running_server(ckpt=ckpt) as server:  # a refused request is an error in the console, too
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.set_input_files("#files", [file("broken.png", b"hello"), file("photo.png")])
        until(page, READY)
        assert "broken.png: this is no image that can be read" in page.locator(".explore > [role=status]").inner_text()
        assert page.locator(".side:visible").count() == 0
        page.locator(".thumb").nth(1).click()
        page.locator(".side canvas.picture").first.wait_for()
        page.close()


def test_fifty_one_images_at_once(explored, ckpt):
    page = explored(ckpt=ckpt)
    page.set_input_files("#files", [file(f"{number}.png", seed=number, size=(40, 40)) for number in range(51)])
    assert "51 images are more than are taken at once (50" in page.locator("[role=alert]").inner_text()
    until(page, READY)
    assert page.evaluate("camexp.explore.images.filter(i => i.items).length") == 50


def test_a_method_with_few_maps_asks_once_for_another_class(explored, ckpt):
    page = explored(ckpt=ckpt)
    page.set_input_files("#files", [file("photo.png")])
    until(page, READY)
    page.get_by_label("Method").select_option("gradcam")
    until(page, f"{READY} && camexp.explore.images[0].items[0].labels.length === 5")
    held = page.evaluate("camexp.explore.images[0].items[0].labels")
    missing = next(label for label in range(len(CLASSES)) if label not in held)
    asked = len(page.asked)
    page.get_by_label("Ask for another class").fill(CLASSES[missing])
    page.get_by_label("Ask for another class").press("Enter")
    until(page, f"camexp.explore.viewers[0].label === {missing} && camexp.explore.viewers[0].ready.maps.count === 6")
    assert [url.partition("classes=")[2] for url in page.asked[asked:] if "explain" in url] == [str(missing)]
    assert "#" in page.url and "method=gradcam" in page.url  # a link restores it
    expected = page.server.explain(picture(), f"method=gradcam&classes={missing}").json["items"][0]["maps"]["high"]
    assert page.evaluate("camexp.explore.images[0].items[0].maps.high")[-1] == pytest.approx(expected[0], rel=1e-3)


def test_two_checkpoints_step_together(explored, ckpt, tmp_path):
    other = str(save_network(tmp_path / "b.ckpt", ["llama", "cat", "yak"], seed=4))
    page = explored(ckpt=[ckpt, other])
    page.set_input_files("#files", [file("one.png"), file("two.png", seed=1, size=(60, 90))])
    until(page, READY)
    assert page.locator(".side:visible").count() == 2
    page.locator(".side").nth(0).locator(".bars button", has_text="llama").click()
    until(page, "camexp.explore.viewers.every(viewer => viewer.meta.classes[viewer.label] === 'llama')")
    page.keyboard.press("ArrowRight")
    until(page, "camexp.explore.viewers.every(viewer => viewer.item.name === 'two.png')")
    page.locator(".side").nth(1).locator("label.field", has_text="View").locator("select").first.select_option("beside")
    until(page, "camexp.explore.viewers.every(viewer => viewer.state.view === 'beside')")


def test_a_run_is_followed(explored, tmp_path):
    save_network(tmp_path / "run" / "checkpoints" / "step_000010.ckpt", step=10)
    page = explored(ckpt=str(tmp_path / "run"))
    page.set_input_files("#files", [file("photo.png")])
    until(page, READY)
    assert "step 10" in page.locator(".sides h2").inner_text()
    before = page.evaluate("camexp.explore.images[0].items[0].logits")
    save_network(tmp_path / "new.ckpt", seed=3, step=20).rename(tmp_path / "run" / "checkpoints" / "step_000020.ckpt")
    until(
        page,
        "camexp.explore.networks[0].step === 20 && !camexp.explore.busy.size && camexp.explore.images[0].items[0].version === 2",
    )
    assert "step 20" in page.locator(".sides h2").inner_text()
    assert page.evaluate("camexp.explore.images[0].items[0].logits") != before


def test_the_folders_images(explored, ckpt, tmp_path):
    for number in range(5):
        paint(tmp_path / "photos" / f"{number}.png", (50 * number, 90, 90), seed=number)
    page = explored(ckpt=ckpt, input=str(tmp_path / "photos"))
    until(page, READY)  # the first one is open already
    page.get_by_label("Name contains").fill("3")
    page.get_by_role("button", name="3.png").click()
    until(page, f"camexp.explore.image.index === 3 && {READY}")
    assert page.locator(".thumb > .name").all_inner_texts() == ["0.png", "3.png"] and "image=3" in page.url


def test_names_are_text(explored, tmp_path):
    ckpt = save_network(tmp_path / "a<b>&.ckpt", HOSTILE)
    page = explored(ckpt=str(ckpt))
    page.set_input_files("#files", [file("<img src=x onerror=alert(1)>.png")])
    until(page, READY)
    assert page.title() == "Where the network looks" and page.locator("main img[src=x]").count() == 0
    assert set(page.locator(".bars .name").all_inner_texts()) == set(HOSTILE)
    assert "a<b>&.ckpt" in page.locator(".sides h2").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_it(explored, ckpt, tmp_path, theme):
    """Names, roles and contrast by axe; nothing is wider than a phone."""
    paint(tmp_path / "photos" / "a.png", (90, 90, 90))
    page = explored({"color_scheme": theme}, ckpt=[ckpt, ckpt], input=str(tmp_path / "photos"))
    until(page, READY)
    page.set_viewport_size({"width": 400, "height": 800})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    context = page.context.browser.new_context(
        bypass_csp=True, color_scheme=theme, viewport={"width": 1400, "height": 900}
    )
    judged = context.new_page()  # axe is a script that the page's policy would not run
    judged.goto(page.url)
    until(judged, READY)
    found = Axe().run(judged).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []
    context.close()


def test_the_camera(chromium, ckpt):
    path = next(filter(None, map(shutil.which, NAMES)))
    fake = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    browser = chromium.browser_type.launch(executable_path=path, args=fake)
    with running_server(ckpt=ckpt) as server:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.get_by_role("button", name="Camera").click()
        until(page, "document.querySelector('video')?.videoWidth > 0")
        page.get_by_role("button", name="Take the photograph").click()
        until(page, READY)
        assert page.locator(".thumb > .name").inner_text().startswith("camera ") and page.locator("dialog").count() == 0
    browser.close()
