"""Values of any letters come through Hydra's grammar as the shell passed them."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from camexp.cli import quote_paths


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
    from omegaconf import OmegaConf

    monkeypatch.chdir(tmp_path)
    (tmp_path / "${x}.jpg").write_text("")
    assert OmegaConf.create({"input": parsed("input=${x}.jpg").value()}).input == "${x}.jpg"


def test_a_comma_separates_a_sweep():
    assert parsed("-m", "model.weights=a.npy,b c.npy").is_sweep_override()
    assert not parsed("model.weights=a.npy,b.npy").is_sweep_override()
    assert parsed("-m", "label=[a,b],[c]").is_sweep_override()


def test_only_a_resolver_is_an_interpolation():
    from omegaconf import OmegaConf

    assert OmegaConf.create({"output": parsed("output=a ${y} b").value()}).output == "a ${y} b"
    assert OmegaConf.create({"output": parsed("output=${oc.env:HOME}/x").value()}).output.startswith("/")
