"""Every command and every snippet of the README and of the site is run, or says why not and is composed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import yaml

from camexp.methods import METHODS
from camexp.models import TRUNKS
from tests.conftest import ROOT
from tests.docs.blocks import PAGES, SHOWN, Block, Command, blocks, commands
from tests.docs.composing import OPTIONS, require_composable
from tests.docs.running import run

WITH_CODE = [page for page in PAGES if any(True for _ in blocks(page))]
# Pages of so many commands that to run them takes 10 to 40 s of a core: they are composed, and run with -m long.
LONG = {ROOT / "docs" / "howto" / f"{name}.md" for name in (
    "datasets", "heads", "many-images", "maps", "measuring", "own-images", "presets", "sweeps", "wsol"
)} | {ROOT / "docs" / "export.md"}  # fmt: skip


def first_occurrences() -> set[tuple[str, Command]]:
    """Where a command that several pages show is run: on the first of them."""
    seen: set[Command] = set()
    found = set()
    for page in WITH_CODE:
        for block in blocks(page):
            if block.language == "bash" and block.reason is None:
                for one in commands(block):
                    if isinstance(one, Command) and (one.name not in OPTIONS or one not in seen):
                        seen.add(one)
                        found.add((block.place, one))
    return found


RUN = first_occurrences()


@pytest.fixture
def page_folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the prepared folder; what a page registers or defines is forgotten after it."""
    folder = tmp_path / "page"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("MPLBACKEND", "agg")
    registered = dict(TRUNKS), dict(METHODS)
    modules = set(sys.modules)
    yield folder
    for registry, before in zip((TRUNKS, METHODS), registered, strict=True):
        registry.clear()
        registry.update(before)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def as_parameters(pages: Iterable[Path], mark: pytest.MarkDecorator) -> list:
    return [pytest.param(page, id=str(page.relative_to(ROOT)), marks=mark) for page in pages]


@pytest.mark.parametrize(
    "page",
    as_parameters([page for page in WITH_CODE if page not in LONG], pytest.mark.slow)
    + as_parameters(sorted(LONG), pytest.mark.long),
)
def test_page(page: Path, page_folder: Path) -> None:
    names: dict[str, object] = {"__name__": "snippet"}
    for block in blocks(page):
        if block.language == "bash":
            run_shell(block, page_folder)
        elif block.language == "python":
            run_python(block, names, page_folder)
        elif block.language == "yaml":
            written(block, page_folder)
            yaml.safe_load(block.text)
        else:
            assert block.language in SHOWN, f"{block.place}: nothing is known of {block.language}"


@pytest.mark.parametrize("page", as_parameters(sorted(LONG), pytest.mark.slow))
def test_every_command_of_a_long_page_can_be_composed(page: Path, page_folder: Path) -> None:
    for block in blocks(page):
        written(block, page_folder)  # a configuration that the page shows
        for one in commands(block) if block.language == "bash" else ():
            if isinstance(one, Command) and one.name in OPTIONS:
                require_composable(one)


def run_shell(block: Block, folder: Path) -> None:
    for one in commands(block):
        if isinstance(one, Command):
            if one.name in OPTIONS:
                require_composable(one)
            if (block.place, one) in RUN:
                assert run(one, folder) == 0, f"{block.place}: {one}"
        elif one[:2] == ["pip", "install"]:
            require_extras(" ".join(one))
        else:
            assert block.reason or one == ["pytest"], f"{block.place}: {one} is neither run nor marked"


def run_python(block: Block, names: dict[str, object], folder: Path) -> None:
    written(block, folder)
    code = compile(block.text, block.place, "exec")
    if block.reason is None:
        exec(code, names)


def written(block: Block, folder: Path) -> None:
    """A block that begins with the name of a file is that file."""
    if match := re.match(r"(?:# @package .*\n)?# ([\w/]+\.(?:py|yaml))\n", block.text):
        path = folder / match[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")


def require_extras(command: str) -> None:
    """The optional parts that are asked for exist."""
    section = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))
    assert len(known) > 10
    for part in re.findall(r"\[([\w,]+)\]", command):
        assert set(part.split(",")) <= known, command


def test_an_unmarked_block_that_is_not_run_fails(tmp_path: Path) -> None:
    block = Block(ROOT / "README.md", 1, "bash", "tensorboard --logdir outputs\n", None)
    with pytest.raises(AssertionError, match="neither run nor marked"):
        run_shell(block, tmp_path)
    run_shell(block._replace(reason="it does not end"), tmp_path)


@pytest.mark.parametrize(
    "line", ["camexp train modell=vgg16", "camexp train model=vgg99", "camexp predict ckpt=a input=b alpha=2"]
)
def test_a_wrong_option_in_a_command_that_is_not_run_fails(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    block = Block(ROOT / "README.md", 1, "bash", f"{line}\n", "it needs a GPU")
    with pytest.raises(Exception, match=r"modell|vgg99|alpha"):
        run_shell(block, tmp_path)


def test_ci_runs_the_readmes_two_commands() -> None:
    readme = [block.text for block in blocks(ROOT / "README.md") if block.language == "bash"]
    assert "pip install -e . && python train.py\n" in readme
    command = 'pip install -e ".[test]" && pytest'
    assert f"{command}\n" in readme
    assert command in (ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")


def test_the_recipe_that_is_shown_is_the_one_that_runs() -> None:
    [shown] = [block for block in blocks(ROOT / "docs" / "how-it-works.md") if block.language == "python"]
    scripts = [path for path in (ROOT / "train.py", ROOT / "camexp" / "commands" / "train.py") if path.is_file()]
    text = " ".join(path.read_text(encoding="utf-8") for path in scripts)
    for line in shown.text.splitlines():
        right = line.partition(" = ")[2] or line
        assert right.replace("options.transform.input_size", "size") in text, line


def test_the_reasons_are_few() -> None:
    marked = [block.place for page in WITH_CODE for block in blocks(page) if block.reason]
    ran = [block.place for page in WITH_CODE for block in blocks(page) if not block.reason and block.language == "bash"]
    assert len(marked) < len(ran) / 2, marked
