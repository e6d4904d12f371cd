"""A run that still trains: its newest whole checkpoint, and nothing else."""

from __future__ import annotations

import logging
import os

import pytest
import torch

from camexp.config import ExploreOptions
from camexp.errors import UserError
from camexp.explore.networks import Network, loader
from tests.explore.conftest import picture, save_network, until

LOAD = loader("cpu", "32-true")


def age(path, seconds):
    """Make a file older, so that which one is the newest does not hang on the clock's steps."""
    about = path.stat()
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns - int(seconds * 1e9)))
    return path


@pytest.fixture
def run(tmp_path):
    """A run's folder with the checkpoint of step 10."""
    age(save_network(tmp_path / "run" / "checkpoints" / "last.ckpt", step=10), 100)
    return tmp_path / "run"


def test_the_newest_checkpoint_is_taken(run):
    age(save_network(run / "checkpoints" / "best.ckpt", seed=1, step=5), 200)
    network = Network(str(run), LOAD)
    assert network.follows and network.loaded.step == 10 and network.loaded.name.endswith("last.ckpt")
    assert not network.refresh()
    age(save_network(run / "checkpoints" / "step_000020.ckpt", seed=2, step=20), 50)
    old = network.loaded
    assert network.refresh() and (network.loaded.step, network.loaded.version) == (20, 2)
    assert not torch.equal(old.model.head.linear.weight, network.loaded.model.head.linear.weight)
    os.link(run / "checkpoints" / "step_000020.ckpt", run / "checkpoints" / "new")  # as a run names one file twice
    (run / "checkpoints" / "new").replace(run / "checkpoints" / "last.ckpt")
    assert network.refresh() and network.loaded.name.endswith("last.ckpt")


def test_what_is_not_whole_waits(run, caplog):
    network = Network(str(run), LOAD)
    whole = save_network(run.parent / "whole.ckpt", seed=1, step=30).read_bytes()
    last = run / "checkpoints" / "last.ckpt"
    with caplog.at_level(logging.WARNING):
        last.write_bytes(whole[: len(whole) // 2])
        assert not network.refresh() and network.loaded.step == 10
        assert "is not shown: ckpt=" in caplog.text
        caplog.clear()
        assert not network.refresh() and not caplog.text  # told once
    last.write_bytes(whole)
    assert network.refresh() and network.loaded.step == 30


def test_temporary_names_and_removed_files_are_no_checkpoints(run):
    save_network(run / "checkpoints" / ".17~last.ckpt", seed=1, step=99)
    network = Network(str(run), LOAD)
    assert network.loaded.step == 10
    (run / "checkpoints" / "last.ckpt").unlink()
    assert not network.refresh() and network.loaded.step == 10  # what was read stays


def test_a_run_without_a_checkpoint_is_one_sentence(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(UserError, match="run is a run without a checkpoint so far: wait for its first one"):
        Network(str(tmp_path / "run"), LOAD)


def test_a_file_and_a_published_name_stay_what_they_are(tmp_path):
    path = save_network(tmp_path / "a.ckpt")
    network = Network(str(path), LOAD)
    save_network(path, seed=1)
    assert not network.follows and not network.refresh() and network.loaded.step is None


def test_the_page_hears_of_a_new_version_and_gets_its_maps(serve, run):
    server = serve(ckpt=str(run))
    data = picture()
    assert server.ask("GET", "/state").json == {"networks": [{"version": 1, "step": 10}], "waiting": 0}
    before = server.explain(data).json["items"][0]
    save_network(run / "checkpoints" / "step_000011.ckpt", ["cat", "dog"], seed=5, step=11)
    until(lambda: server.ask("GET", "/state").json["networks"] == [{"version": 2, "step": 11}])
    after = server.explain(data).json["items"][0]
    assert (before["version"], after["version"]) == (1, 2) and before["logits"] != after["logits"]
    assert server.ask("GET", "/networks").json["networks"][0]["meta"]["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("ckpt", [[], ["a", "b", "c"], 3, "", ["a", ""], None])
def test_one_checkpoint_or_two(ckpt):
    with pytest.raises(
        UserError, match=r"^ckpt=.* is not a checkpoint: expected one, or two to compare as \[a.ckpt,b.ckpt\]"
    ):
        ExploreOptions.read({"ckpt": ckpt, "cam": {}})
