"""The user's own ``conf/`` and modules in the working folder, and parts that other packages bring."""

from __future__ import annotations

import sys

import pytest

from camexp import UserError, plugins
from camexp.cli import own_configs
from camexp.config.own import FOLDER, own_folder, replaced_files
from camexp.models import build_trunk
from tests.conftest import ROOT, TINY

METADATA = "Metadata-Version: 2.1\nName: their-parts\nVersion: 1.2\n"
ENTRIES = """
[camexp.trunks]
theirs = their_parts:trunk
mistaken = their_parts:count
absent = their_parts:nothing
failing = their_parts:failing

[camexp.datasets]
stripes = their_parts:stripes
numbers = their_parts:count
"""
MODULE = """
from camexp.data import find_imagefolder
from camexp.models import TRUNKS

def trunk(name, width=1.0):
    return TRUNKS["vgg11"]("vgg11", width)

def failing(name, width=1.0):
    raise RuntimeError("no such luck")

def count(*arguments, root=None):
    return 3

def stripes(root, extensions=None):
    return find_imagefolder(root, extensions)
"""


@pytest.fixture
def their_package(tmp_path_factory, monkeypatch):
    """A package of someone else's, as pip leaves it."""
    site = tmp_path_factory.mktemp("site")
    about = site / "their_parts-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(METADATA)
    (about / "entry_points.txt").write_text(ENTRIES)
    (site / "their_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(site))
    own_configs._plugin_names.cache_clear()
    yield
    sys.modules.pop("their_parts", None)
    own_configs._plugin_names.cache_clear()


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_which_folder_is_the_users_own(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert own_folder() is None  # a clone's conf/ is the package's
    monkeypatch.chdir(tmp_path)
    assert own_folder() is None
    write(tmp_path / "conf" / "model" / "vgg19.yaml", "trunk: vgg19\n")
    write(tmp_path / "conf" / "model" / "mine.yaml", "trunk: vgg19\n")
    assert own_folder() == tmp_path / "conf" and replaced_files() == ["conf/model/vgg19.yaml"]
    monkeypatch.setenv(FOLDER, "")
    assert own_folder() is None and replaced_files() == []


def test_own_presets_data_sets_and_code_need_no_clone(script, tmp_path, colours, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    write(tmp_path / "flowers_of_mine.py", "from camexp.data import find_imagefolder as find\n")
    write(
        tmp_path / "conf" / "dataset" / "flowers.yaml",
        f"_target_: flowers_of_mine.find\nroot: {colours}\nclasses: null\nmax_skipped: 0.05\ncheck: true\n",
    )
    done = script("train.py", "dataset=flowers", *TINY, "trainer.max_steps=1", "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert "configs: own ones in conf come first\n" in done.out and "24 images of 3 classes" in done.out
    assert "configs: own ones in conf come first" in (tmp_path / "run" / "train.log").read_text()
    assert (
        "dataset: caltech101, caltech256, cub200, flowers, huggingface, imagefolder, imagenet, shapes, torchvision, webdataset, wsol"
        in script("train.py", "--help").out
    )
    done = script("train.py", "dataset=flower", *TINY)
    assert done.code == 1 and "dataset=flower is not a choice: did you mean flowers?" in done.err


def test_a_module_that_is_not_there_is_told_with_the_way_out(script, tmp_path):
    write(tmp_path / "conf" / "dataset" / "flowers.yaml", "_target_: no_such_module.find\n")
    done = script("train.py", "dataset=flowers", *TINY, "hydra.run.dir=run")
    assert done.code == 1 and "its _target_=no_such_module.find cannot be imported" in done.err
    assert "of a file in the folder where the command is started" in done.err


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("optimizer/adam.yaml", "name: adam\nlearning_rate: 3\n", "optimizer.lr is not given"),
        ("train.yaml", "defaults: [{data: mnist}]\n", "train asks for data/mnist.yaml, which is in no conf/ folder"),
        ("train.yaml", "data: mnist\n", "trainer.gpus is not an option: known: data"),
        ("trainer/default.yaml", "gpus: 0\nmax_epochs: many\n", "trainer.max_epochs=many is"),
    ],
)
def test_the_conf_of_another_project_is_named_in_errors(script, tmp_path, name, content, said):
    write(tmp_path / "conf" / name, content)
    dataset = [] if name == "train.yaml" else ["dataset=imagefolder"]
    done = script("train.py", "trainer.gpus=0", *dataset, "hydra.run.dir=run")
    assert done.code == 1 and len(done.err.strip().splitlines()) == 1, done.err
    assert said in done.err and f"(conf/{name} stands in for camexp's own here" in done.err


def test_plugins_are_choices(script, their_package, colours):
    out = script("train.py", "--help").out
    assert "absent, failing, mistaken, theirs, timm" in out and "numbers, shapes, stripes" in out
    tiny = [one for one in TINY if one != "model=vgg11"]
    done = script(
        "train.py", "model=theirs", "dataset=stripes", f"dataset.root={colours}", *tiny, "trainer.max_steps=1",
        "hydra.run.dir=run",
    )  # fmt: skip
    assert done.code == 0, done.err
    done = script("predict.py", "ckpt=run/checkpoints/best.ckpt", f"input={colours}/red", "gpus=0", "output=maps")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("model=thers", "model=thers is not a choice: did you mean theirs?"),
        ("model.trunk=thers", "model.trunk=thers is not a known trunk: did you mean theirs?"),
        ("model=mistaken", "model.trunk=mistaken: its package gives int, not a camexp.models.Trunk"),
        ("model=failing", "its package could not build it"),
        ("model=absent", "their-parts 1.2 brings absent as one of camexp.trunks, but its their_parts:nothing"),
        ("dataset=numbers", "dataset=numbers: its package gives int, not a camexp.data.ImageSet"),
        ("dataset=stripes", "dataset.root is not given"),
        ("dataset=stripes +dataset.colour=red", "dataset=stripes cannot be called with colour, root"),
    ],
)
def test_a_plugin_that_fails_is_one_sentence(script, their_package, colours, arguments, said):
    given = ["model=vgg11", *([] if "dataset=" in arguments else ["dataset=imagefolder", f"dataset.root={colours}"])]
    given = [one for one in given if not (one.startswith("model=") and "model=" in arguments)]
    tiny = [one for one in TINY if one != "model=vgg11"]
    done = script("train.py", *given, *tiny, *arguments.split(), "hydra.run.dir=run")
    assert done.code == 1 and said in done.err, done.err
    assert len(done.err.strip().splitlines()) == 1


def test_two_packages_of_one_name_are_told(their_package, tmp_path, monkeypatch):
    about = tmp_path / "other_parts-3.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-parts\nVersion: 3\n")
    (about / "entry_points.txt").write_text("[camexp.trunks]\ntheirs = other_parts:trunk\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="in other-parts 3 and in their-parts 1.2: uninstall one of them"):
        plugins.load_plugin(plugins.TRUNKS, "theirs")


def test_a_plugins_trunk_is_not_imported_before_it_is_asked_for(their_package):
    build_trunk("vgg11", 1 / 16)
    assert "theirs" in plugins.plugin_names(plugins.TRUNKS) and "their_parts" not in sys.modules
    assert build_trunk("theirs", 1 / 16).out_channels == 32
