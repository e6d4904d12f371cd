"""Values of any letters come through Hydra's grammar as the shell passed them."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from camexp.cli.arguments import quote_paths
from tests.conftest import ROOT


def parsed(*arguments):
    [override] = OverridesParser.create().parse_overrides([a for a in quote_paths(arguments) if a != "-m"])
    return override


STRANGE = [
    "a=b.ckpt", "a,b.ckpt", "my file (1).ckpt", "[x]y.ckpt", "it's.ckpt", 'a"b.ckpt', "naïve-日本.ckpt", "a\\b.ckpt",
    "back\\", "a\\'b", "{x}.ckpt", "a:b", "~/x", "100%", "a#b", "x&y;z", "a*b?.png", "epoch=3-step=9.ckpt", "''", "a'b\"c",
    " lead", "trail ", "$HOME", "@file", "null.ckpt", "1e3", "true", "tab\there",
]  # fmt: skip


@pytest.mark.parametrize("value", STRANGE)
@pytest.mark.parametrize("exists", [True, False])
def test_any_letter(value, exists, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if exists:
        if "/" in value:
            pytest.skip("not a name of one file")
        (tmp_path / value).write_text("")
    if value == "''" and not exists:
        pytest.skip("quoted already")
    assert parsed(f"ckpt={value}").value() == value
    assert parsed(f"+dataset.root={value}").value() == value


def test_quoting_twice_changes_nothing(tmp_path, monkeypatch):
    """A process that Lightning starts for a second GPU sees the quoted command line."""
    monkeypatch.chdir(tmp_path)
    for value in STRANGE:
        once = quote_paths([f"ckpt={value}"])
        assert quote_paths(once) == once


def test_lists_null_and_other_options_are_left_alone():
    assert parsed("input=[a.jpg,b c.jpg]").value() == ["a.jpg", "b c.jpg"]
    assert parsed("input=[a(1).jpg,b=2.jpg]").value() == ["a(1).jpg", "b=2.jpg"]
    assert parsed("model.weights=null").value() is None
    assert parsed("seed=3").value() == 3
    assert parsed("label=[llama,3]").value() == ["llama", "3"]
    assert parsed("input=[ü.png, a.png]").value() == ["ü.png", "a.png"]
    assert parsed("input=['a,b.png',1e3]").value() == ["a,b.png", "1e3"]
    assert parsed("inspect.label=[[bleü],[a b,c]]").value() == [["bleü"], ["a b", "c"]]
    assert parsed("dataset.classes=[bleü]").value() == ["bleü"]
    assert parsed("dataset.classes=3").value() == 3
    assert parsed("label=[]").value() == []


def test_a_dollar_brace_that_exists_is_no_interpolation(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "${x}.jpg").write_text("")
    assert OmegaConf.create({"input": parsed("input=${x}.jpg").value()}).input == "${x}.jpg"


def test_a_comma_separates_a_sweep():
    assert parsed("-m", "model.weights=a.npy,b c.npy").is_sweep_override()
    assert not parsed("model.weights=a.npy,b.npy").is_sweep_override()
    assert parsed("-m", "label=[a,b],[c]").is_sweep_override()


def test_only_a_resolver_is_an_interpolation():
    assert OmegaConf.create({"output": parsed("output=a ${y} b").value()}).output == "a ${y} b"
    assert OmegaConf.create({"output": parsed("output=${oc.env:HOME}/x").value()}).output.startswith("/")


PATHS = ("root", "dir", "folder", "path", "file", "filename", "uri", "url", "location")  # an option's name ends so
UNNAMED = {"ckpt", "input", "output", "boxes", "masks", "heatmaps", "threshold.from", "inspect.image", "model.weights",
           "features.cache"}  # fmt: skip
NO_PATHS = {"hydra.job.chdir", "model.trunk", "callbacks.early_stopping.monitor"}  # though it looks so
CHOICES = [("train", f"{path.parent.name}={path.stem}") for path in sorted((ROOT / "conf").glob("*/*.yaml"))]


def options(node, prefix=""):
    """Each option's name and its value as the configuration has it, interpolations as they stand."""
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig) and isinstance(child._value(), dict):
            yield from options(child, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", child._value()


@pytest.mark.parametrize(
    ("root", "choice"), [("predict", "cam=cam"), ("evaluate", "cam=cam"), ("train", "hydra/sweeper=optuna"), *CHOICES]
)
def test_every_path_in_the_configuration_comes_through(root, choice):
    if choice == "launch=ray":  # too heavy for the tests' own requirements
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose(root, [choice], return_hydra_config=True)
    found = set()
    for name, value in options(composed):
        by_hydra = name.startswith(("hydra.help.", "hydra.hydra_help.", "hydra.runtime."))
        looks_so = isinstance(value, str) and "/" in value and "://" not in value.replace("sqlite://", "")
        if not by_hydra and (name in UNNAMED or name.endswith(PATHS) or looks_so) and name not in NO_PATHS:
            found.add(name)
            for path in ("a=b, c (1)/[x]{y}", "it's: 'x'", "naïve\\", "{epoch:02d}x"):
                assert parsed(f"{name}={path}").value() == path, name
    assert len(found) > 5 and UNNAMED & found


def test_a_path_may_name_other_options(tmp_path):
    """As the configuration's own do; null takes it away, and a comma separates a sweep."""
    save_dir = "logger.tensorboard.save_dir"
    value = parsed(f"{save_dir}=${{run_dir}}/a, b").value()
    assert OmegaConf.create({"run_dir": "run", "save_dir": value}).save_dir == "run/a, b"
    assert parsed("hydra.output_subdir=null").value() is None
    assert parsed("-m", f"{save_dir}=a b,c=d").is_sweep_override()
    assert parsed("hydra.searchpath=[file:///a b,pkg://c]").value() == ["file:///a b", "pkg://c"]
    assert parsed("+callbacks.mine.filename={epoch:02d}").value() == "{epoch:02d}"
    assert parsed("hydra.job_logging.handlers.file={class:x,mode:w}").value() == {"class": "x", "mode": "w"}
    assert parsed("hydra.job.chdir=true").value() is True
