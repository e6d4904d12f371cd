"""The reference of options says what the options say."""

from __future__ import annotations

import importlib.util
import re

import pytest

from camexp.config import EvaluateOptions, PredictOptions, TrainOptions
from camexp.config.describe import fields_of, help_table, option_rows
from tests.conftest import ROOT
from tests.test_configs import CHOICES

SPEC = importlib.util.spec_from_file_location("option_pages", ROOT / "docs" / "_ext" / "option_pages.py")
assert SPEC is not None and SPEC.loader is not None
option_pages = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(option_pages)


@pytest.mark.parametrize(
    ("command", "options"), [("train", TrainOptions), ("predict", PredictOptions), ("evaluate", EvaluateOptions)]
)
def test_every_option_has_its_row(command, options):
    def keys(group, prefix=""):
        for field in fields_of(group):
            if field.options is not None:
                yield from keys(field.options, f"{prefix}{field.key}.")
            elif not field.is_group:
                yield prefix + field.key

    table = option_pages.option_tables(command)
    rows = re.findall(r"^\| `([\w.]+)` \|", table, re.MULTILINE)
    assert rows == list(keys(options)) and len(rows) > 25
    assert all(line.count("|") - line.count("\\|") == 5 for line in table.splitlines() if line.startswith("|"))


def test_default_range_and_meaning():
    assert (
        "| `batch_size` | `32` | 1 to 65536 | images a step, over all devices together |"
        in option_pages.option_tables("train")
    )
    assert "| `optimizer.lr` | required | 1e-12 to 1000 | the learning rate |" in option_pages.option_tables("train")


def test_help_lists_the_same():
    for row in option_rows(TrainOptions):
        assert f"  {row.name}={row.default}" in help_table(TrainOptions)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_has_its_row(choice):
    group, _, name = choice.partition("=")
    section = option_pages.choice_tables().partition(f"\n| `{group}=` |")[2].partition("\n## ")[0]
    assert re.search(rf"^\| `{name}` \|", section, re.MULTILINE)


def test_what_a_choice_sets_is_what_one_would_type():
    about, keys = option_pages.read_choice(ROOT / "camexp" / "conf" / "scheduler" / "cosine.yaml")
    assert ("scheduler.warmup", "0.05", "the share of the steps over which the rate rises from zero") in keys
    about, keys = option_pages.read_choice(ROOT / "camexp" / "conf" / "dataset" / "shapes.yaml")
    found = {key.name: (key.value, key.comment) for key in keys}
    assert about.startswith("Pictures that the project draws itself")
    assert found["model"] == ("vgg13_bn", "") and found["transform.size"] == ("96", "")
    assert found["dataset.size"] == ("128", "pixels each way") and found["model.head.l2"] == ("1e-4", "")
