"""The import graph: each part imports only from parts below it (the contracts are in pyproject.toml)."""

from importlinter.cli import lint_imports

from tests.conftest import ROOT


def test_the_layers_hold(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0, capsys.readouterr().out
