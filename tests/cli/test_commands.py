"""``camexp COMMAND``: the table of commands, their spelling, and what starting them waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hydra.core.hydra_config import HydraConfig

from camexp.commands import COMMANDS, main
from camexp.commands.table import usage
from camexp.launching import program
from tests.conftest import ROOT
from tests.test_startup import NOT_FOR_HELP, imported

HYDRA = ("train", "predict", "evaluate", "explore", "export")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name):
    assert callable(COMMANDS[name].load()) and f"camexp {name}" in usage()


def test_the_scripts_of_the_package_are_the_commands():
    tomllib = pytest.importorskip("tomllib")  # of Python 3.11
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert scripts.pop("camexp") == "camexp.commands:main"
    assert scripts == {f"camexp-{name}": COMMANDS[name].target for name in HYDRA}


def test_an_unknown_command_is_one_sentence(capsys):
    assert main(["trian"]) == 1
    out, err = capsys.readouterr()
    assert (out, err) == ("", "error: trian is not a command of camexp: did you mean train? (camexp --help)\n")


def test_no_command_lists_them(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"camexp {name}" in out for name in COMMANDS)


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["train", "--help"], ["predict", "--help"]])
def test_asking_waits_for_no_library(arguments, tmp_path):
    code = f"import sys\nsys.argv = ['/bin/camexp', *{arguments!r}]\nfrom camexp.commands import main\n"
    modules = imported(code + "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code", tmp_path)
    assert {library: why for library, why in NOT_FOR_HELP.items() if library in modules} == {}
    assert ("hydra" in modules) == (len(arguments) > 1)


@pytest.mark.parametrize(
    ("path", "spelled"),
    [("/bin/camexp", "camexp"), ("/bin/camexp-train", "camexp-train"), ("/clone/train.py", "python train.py")],
)
def test_the_help_has_the_users_spelling(path, spelled, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)  # what Hydra sets there would stay for other tests
    monkeypatch.setattr(sys, "argv", [path, "--help"])
    with pytest.raises(SystemExit):
        COMMANDS["train"].load()(["--help"])
    out = capsys.readouterr().out
    assert f"{spelled}{' train' * (spelled == 'camexp')} -m optimizer.lr=1e-3,3e-4" in out
    predict = spelled.replace("train", "predict") + " predict" * (spelled == "camexp")
    assert f"Then: {predict} ckpt=" in out


@pytest.mark.parametrize("path", ["train.py", "camexp", "camexp-train", "camexp/__main__.py"])
def test_a_program_starts_again(path, tmp_path, monkeypatch):
    """Whatever it was called by: a command that prints its version stands in for one that trains."""
    words = program.Program(tmp_path / path, "train").start()
    assert words[0] == sys.executable
    if path == "camexp/__main__.py":
        assert words[1:] == ["-m", "camexp", "train"]
        return
    (tmp_path / path).write_text("import sys\nprint(sys.argv[1:])\n")
    done = subprocess.run([*words, "a=1"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(["train"] * (path == "camexp") + ["a=1"])


def test_completion_is_installed_for_the_command_that_asks(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/bin/camexp-train"])
    COMMANDS["train"].load()(["-sc", "install=bash"])
    assert capsys.readouterr().out.rstrip().endswith("-F hydra_bash_completion camexp-train")
    monkeypatch.setenv("COMP_LINE", "camexp-train model=vgg1")
    COMMANDS["train"].load()(["-sc", "query=bash"])
    assert {"model=vgg11", "model=vgg19_bn"} <= set(capsys.readouterr().out.split())


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = [sys.executable, "-m", "camexp", "train", "--help"]  # | head, of which nothing is left to read it
    done = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.stdout is not None and done.stderr is not None
    done.stdout.close()
    assert (done.stderr.read(), done.wait()) == ("", 141)
    done.stderr.close()
