"""The site builds without a warning and without a network, and all that it links to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import ROOT
from tests.docs.blocks import PAGES

pytest.importorskip("sphinx")
pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page links to, what it loads, and where it can be linked to."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", str(ROOT / "docs"), str(folder)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert not built.stderr.strip(), built.stderr
    return folder


def internal(page: Path, site: Path, targets: list[str]) -> Iterator[tuple[Path, str]]:
    """The files of the site that a page means, and the places in them."""
    for target in targets:
        parts = urlsplit(target)
        if not parts.scheme and not parts.netloc:
            where = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            yield where / "index.html" if where.is_dir() else where, unquote(parts.fragment)


def test_every_internal_link_and_picture_is_there(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    assert len(pages) > len(PAGES) - 2  # all but the README
    checked = 0
    for path, page in pages.items():
        for target, fragment in internal(path, site, page.links + page.loaded):
            assert target.is_file(), f"{path.relative_to(site)} links to {target}"
            if target in pages and path.name not in ("genindex.html", "search.html") and "_modules" not in path.parts:
                assert fragment in pages[target].anchors, f"{path.relative_to(site)}: {target.name}#{fragment}"
            checked += 1
    assert checked > 1000


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        loaded = [one for one in Page(path).loaded if urlsplit(one).netloc]
        assert not loaded, (path, loaded)
    for path in (site / "_static").rglob("*.css"):
        remote = re.findall(r"url\(['\"]?(https?:.*?)\)|@import ['\"](https?:.*?)['\"]", path.read_text())
        assert not remote, (path, remote)


def test_pages_of_the_reference_are_full(site: Path) -> None:
    from camexp.config import TrainOptions
    from camexp.config.describe import option_rows

    text = (site / "reference" / "train.html").read_text(encoding="utf-8")
    for row in option_rows(TrainOptions):
        assert re.search(rf'<span class="pre">{re.escape(row.name)}</span>', text), row.name
    api = (site / "reference" / "api.html").read_text(encoding="utf-8")
    for name in ("camexp.load", "camexp.CAMClassifier.explain", "camexp.cam.upsample", "camexp.evaluation.MaxBoxAcc"):
        assert f'id="{name}"' in api, name
    assert "Raises" in api and "Parameters" in api, "the docstrings' sections are read"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_work_in_the_repository_too(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_is_short_and_starts_with_the_maps() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 90
    assert next(line for line in lines[1:] if line).startswith("![") and "evolution.jpg" in "".join(lines[:4])
