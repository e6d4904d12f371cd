"""``camexp export`` as its user runs it."""

from __future__ import annotations

import json
import sys

import pytest

import camexp
from camexp.commands import main
from camexp.config import ExportOptions
from camexp.errors import UserError
from camexp.export.output import staged
from tests.conftest import Finished
from tests.export.conftest import CONFIG, network, write_checkpoint


@pytest.mark.slow
def test_a_checkpoint_and_the_command(command, ckpt, tmp_path):
    done = command(f"ckpt={ckpt}", "to=safetensors", "output=a=b, (c)")
    assert done.code == 0 and done.err == "", done.err
    out = tmp_path / "a=b, (c)"
    assert sorted(path.name for path in out.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert done.out.count("the same to the last bit") == 3
    assert camexp.load(out, "cpu").classes == camexp.load(ckpt, "cpu").classes
    done = command(f"ckpt={out}", "to=onnx", "maps=top2", "output=graph")
    assert done.code == 0 and done.err == "", done.err
    assert done.out.count("of the largest value") == 3
    assert sorted(path.name for path in (tmp_path / "graph").iterdir()) == ["README.md", "config.json", "model.onnx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a=b, (c)", "graph", "run"]


@pytest.fixture
def in_process(capfd, monkeypatch, tmp_path):
    """The command in this process: eight of its own take half a minute."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Finished:
        monkeypatch.setattr(sys, "argv", ["camexp"])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(["export", *arguments])
        return Finished(int(stop.value.code or 0), *capfd.readouterr())

    return call


def test_wrong_options_are_one_sentence(in_process, ckpt, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    (tmp_path / "empty").mkdir()
    for arguments, sentence in {
        (f"ckpt={ckpt}",): "to is not given",
        (f"ckpt={ckpt}", "to=tflite"): "to=tflite is not known: expected one of onnx, torch_export, safetensors",
        (f"ckpt={ckpt}", "to=safetensors", "output=full"): "output=full is not empty (mine.txt)",
        (f"ckpt={ckpt}", "to=onnx", "int8=true", "calibration=empty"): "calibration=empty is a folder without images",
        (f"ckpt={ckpt}", "to=onnx", "evaluation=empty"): "evaluation=empty holds no evaluation",
        (f"ckpt={ckpt}", "to=onnx", "maps=top9"): "top9 asks for more maps than there are classes",
        ("ckpt=absent.ckpt", "to=onnx"): "ckpt=absent.ckpt is not a file",
        ("ckpt=empty", "to=onnx"): "ckpt=empty has no config.json",
    }.items():
        done = in_process(*arguments)
        assert done.code == 1 and sentence in done.err, (arguments, done.err)
        assert done.err.count("\n") == 1 and "Traceback" not in done.out + done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "full", "outputs", "run"]
    assert not list((tmp_path / "outputs").rglob("*.*"))


@pytest.mark.slow
def test_help_lists_every_option(command):
    done = command("--help")
    assert done.code == 0
    for name in ExportOptions.model_fields:
        assert f"  {name}=" in done.out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"to": "onnx", "maps": "top0"}, "maps=top0 is not a choice of maps"),
        ({"to": "onnx", "maps": 5}, "maps=5 is not a choice of maps"),
        ({"to": "safetensors", "maps": "top5"}, "maps=top5 with to=safetensors"),
        ({"to": "safetensors", "preprocessing": True}, "preprocessing=true with to=safetensors"),
        ({"to": "torch_export", "int8": True, "calibration": "a"}, "int8=true with to=torch_export"),
        ({"to": "onnx", "int8": True}, "add calibration=FOLDER"),
        ({"to": "onnx", "calibration": "a"}, "calibration=a is for int8=true alone"),
        ({"to": "onnx", "license": "mit\nx: y"}, "is not a licence's short name"),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(UserError, match=sentence):
        ExportOptions.read({"ckpt": "a", "output": "b", **options})


def test_a_missing_package_is_told_before_any_work(monkeypatch, tmp_path):
    import sys

    from omegaconf import OmegaConf

    from camexp import export

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    config = OmegaConf.create({"ckpt": "absent", "to": "onnx", "output": str(tmp_path / "out")})
    with pytest.raises(UserError, match=r"^to=onnx needs onnxscript: pip install 'camexp\[export\]'$"):
        export.read_options(config)


def test_writing_over_keeps_what_is_not_ours(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("kept")
    (out / "README.md").write_text("old")
    with pytest.raises(UserError, match="is not empty"), staged(out):
        pass
    with staged(out, overwrite=True) as folder:
        (folder / "README.md").write_text("new")
    assert {path.name: path.read_text() for path in out.iterdir()} == {"mine.txt": "kept", "README.md": "new"}
    with pytest.raises(ZeroDivisionError), staged(out, overwrite=True) as folder:
        (folder / "README.md").write_text("half")
        _ = 1 / 0
    assert (out / "README.md").read_text() == "new" and [path.name for path in tmp_path.iterdir()] == ["out"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"), staged(tmp_path / "file"):
        pass


def test_what_ends_up_in_the_config(ckpt, tmp_path):
    from camexp.export.training import training_facts

    facts = training_facts(CONFIG)
    assert facts == {
        "data": "pets", "seed": 3, "split": CONFIG["split"], "trainer": {"max_epochs": 4},
        "model": {"weights": "w.safetensors", "trunk": "vgg11_bn", "freeze": "none"},
    }  # fmt: skip
    assert training_facts({}) == {} and json.dumps(facts)
    assert write_checkpoint(tmp_path / "b.ckpt", network(), {}).exists()
