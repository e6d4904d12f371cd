"""docs/quickstart.ipynb, executed as it stands."""

import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT


def fewer_pictures(folder: Path) -> None:
    """The data set of the notebook with a tenth of its pictures, as a configuration of the user's own beside it."""
    config = (ROOT / "camexp" / "conf" / "dataset" / "shapes.yaml").read_text(encoding="utf-8")
    assert config.count("per_class: 260") == 1
    (folder / "conf" / "dataset").mkdir(parents=True)
    (folder / "conf" / "dataset" / "shapes.yaml").write_text(config.replace("per_class: 260", "per_class: 26"))


@pytest.mark.long
def test_the_quickstart_runs(tmp_path, monkeypatch):
    fewer_pictures(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # `camexp` is there
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    pages = [
        output.data["text/html"]
        for cell in notebook.cells if cell.cell_type == "code"
        for output in cell.outputs if "text/html" in output.get("data", {})
    ]  # fmt: skip
    assert len(pages) == 2 and all("srcdoc" in page for page in pages)
    assert (tmp_path / "runs" / "first" / "evaluation" / "metrics.json").exists()
    assert list((tmp_path / "exported").glob("*.onnx"))


def test_it_is_committed_without_what_a_run_left():
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
