"""A browser without a network: pages are opened as their readers open them, from the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import PATIENCE

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OpenPage = Callable[..., Page]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")  # its event loop runs in this thread: other modules may want one of their own
def chromium() -> Iterator[Browser]:
    """The system's Chromium; playwright's own is not downloaded."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox"]
        )  # root has none in a container
        yield browser
        browser.close()


def settle(page: Page) -> None:
    """Wait until what has changed is laid out and painted."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """``open_page(path, hash="", **context)``: the page, whose requests are in ``page.requests`` but for its own file.

    A script's error, or what the page's policy forbade, fails the test.
    """
    contexts, errors = [], []

    def open_(path: Path, hash: str = "", **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.requests = []  # type: ignore[attr-defined]
        page.on("request", lambda request: page.requests.append(request.url))  # type: ignore[attr-defined]
        page.goto(path.absolute().as_uri() + hash)
        page.requests = [url for url in page.requests if not url.startswith(("data:", "blob:"))][1:]  # type: ignore[attr-defined]
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors, errors
