"""Files and disks that mean no good: one sentence, nothing executed, nothing lost."""

from __future__ import annotations

import pickle
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camexp import UserError
from camexp.data.box_formats import read_boxes
from camexp.evaluation.heatmaps import read_heatmap
from camexp.models.trunks import build_trunk
from camexp.models.weights import load_weights
from camexp.reporting.comparison import find_jobs
from camexp.training.resume import newest_intact
from tests.conftest import ROOT, TINY, paint


class Payload:
    """Touches a file where it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "executed"


@pytest.fixture
def trained(script, colours):
    """A run folder with a network of three classes."""
    arguments = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run")
    assert script("train.py", *arguments, "trainer.max_epochs=1").code == 0
    return arguments


def test_nothing_is_executed(tmp_path, marker):
    evil = Payload(marker)
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps" / "a.npy", np.array([evil], object), allow_pickle=True)
    np.savez(tmp_path / "maps" / "b.npz", cam=np.array([evil], object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match="could not be read"):
            read_heatmap(tmp_path / "maps" / name)
    for name in ("w.npy", "w.pth", "w.pt", "w.safetensors"):
        (tmp_path / name).write_bytes(pickle.dumps({"conv1_1": evil}))
        with pytest.raises(UserError):
            load_weights(build_trunk("vgg11", 1 / 16), str(tmp_path / name), "vgg11")
    torch.save({"conv1_1": evil}, tmp_path / "t.pth")
    with pytest.raises(UserError):
        load_weights(build_trunk("vgg11", 1 / 16), str(tmp_path / "t.pth"), "vgg11")
    for name in ("boxes.csv", "boxes.json", "boxes.txt"):
        (tmp_path / name).write_bytes(pickle.dumps(evil))
        with pytest.raises(UserError):
            read_boxes(tmp_path / name)
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / "a.xml").write_text(
        f'<!DOCTYPE a [<!ENTITY b SYSTEM "file://{marker}">]><annotation><filename>&b;</filename></annotation>'
    )
    with pytest.raises(UserError, match="entities"):
        read_boxes(tmp_path / "voc")
    assert not marker.exists()


def test_a_folder_of_runs_cannot_execute_what_it_brings(tmp_path, marker):
    job = tmp_path / "sweep" / "0"
    (job / ".hydra").mkdir(parents=True)
    (job / "checkpoints").mkdir()
    hostile = f'a: !!python/object/apply:os.system ["touch {marker}"]\n'
    (job / ".hydra" / "config.yaml").write_text(hostile)
    (job / ".hydra" / "overrides.yaml").write_text(hostile)
    (job / "summary.json").write_text(hostile)
    (job / "checkpoints" / "last.ckpt").write_bytes(pickle.dumps(Payload(marker)))
    torch.save({"camexp": {}, "state_dict": {}, "x": Payload(marker)}, job / "checkpoints" / "best.ckpt")
    assert find_jobs(tmp_path / "sweep")[0].state == "unfinished"
    assert newest_intact(job / "checkpoints") is None
    assert not marker.exists()


@pytest.mark.slow
def test_resuming_executes_nothing(script, trained, tmp_path, marker):
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    torch.save(state | {"global_step": 99, "evil": Payload(marker)}, tmp_path / "run/checkpoints/step_000099.ckpt")
    done = script("train.py", *trained, "resume=auto", "trainer.max_epochs=2")
    assert done.code == 0 and "step_000099.ckpt is corrupted" in done.out, done.err
    assert not marker.exists()


@pytest.mark.slow
def test_a_checkpoint_cannot_name_what_is_called(script, trained, tmp_path, marker):
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    for dataset in (
        {"_target_": "os.makedirs", "name": str(marker)},
        {**state["camexp"]["config"]["dataset"], "root": {"_target_": "os.makedirs", "name": str(marker)}},
    ):
        state["camexp"]["config"]["dataset"] = {"classes": None, "check": False, "max_skipped": 0, **dataset}
        torch.save(state, tmp_path / "foreign.ckpt")
        done = script("evaluate.py", "ckpt=foreign.ckpt", "gpus=0")
        assert done.code == 1 and "is none of camexp's own" in done.err and done.err.count("\n") == 1
    assert not marker.exists()


@pytest.mark.slow
def test_checkpoints_that_do_not_belong(script, trained, tmp_path, colours):
    def sentence(name, *arguments):
        done = script(name, *arguments)
        assert done.code == 1 and done.err.count("\n") == 1 and "Traceback" not in done.out, done.err
        return done.err

    paint(tmp_path / "other" / "cat" / "a.png", (9, 9, 9))
    paint(tmp_path / "other" / "dog" / "b.png", (200, 9, 9))
    ckpt = "ckpt=run/checkpoints/last.ckpt"
    said = sentence("evaluate.py", ckpt, "dataset=imagefolder", f"dataset.root={tmp_path}/other", "gpus=0")
    assert "cat" in said or "class" in said
    assert "is not a class" in sentence("predict.py", ckpt, f"input={tmp_path}/other", "label=dog", "gpus=0")
    state = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    next(iter(state["state_dict"].values())).fill_(float("nan"))
    torch.save(state, tmp_path / "nan.ckpt")
    assert "NaN or infinite" in sentence("predict.py", "ckpt=nan.ckpt", f"input={tmp_path}/other", "gpus=0")
    head = "cannot change in the middle of the run"
    assert head in sentence("train.py", *trained, "resume=auto", "model=vgg13")
    assert head in sentence("train.py", *trained, "resume=auto", "dataset.classes=[red,blue]")
    assert "expected auto or null" in sentence("train.py", *trained[:-1], "hydra.run.dir=new", "resume=yes")
    assert "holds a run already" in sentence("train.py", *trained)
    for option in ("hydra.run.dir=/proc/camexp", "hydra.run.dir=/dev/null/run"):
        assert "cannot be" in sentence("train.py", *trained[:-1], option)
    assert "cannot be" in sentence("predict.py", ckpt, f"input={colours}", "output=/proc/camexp", "gpus=0")


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit stands in for a full disk")
def test_a_full_disk_keeps_what_was_there(script, colours, tmp_path):
    """No file may grow beyond a limit that the second checkpoint, with its optimizer's state, would pass."""
    command = [
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY,
        "checkpoint.every_n_steps=2", "hydra.run.dir=run", "logger=csv", "inspect.every_n_steps=0", "resume=auto",
    ]  # fmt: skip
    first = script(*command, "trainer.max_steps=2")
    assert first.code == 0, first.err
    size = (tmp_path / "run/checkpoints/last.ckpt").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        full = script(*command, "trainer.max_steps=6")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert full.code == 1 and "Traceback" not in full.out + full.err
    assert "could not be written" in full.err and full.err.count("\n") == 1, full.err
    assert not list((tmp_path / "run").rglob(".[0-9]*~*"))
    assert newest_intact(tmp_path / "run/checkpoints").exists()
    freed = script(*command, "trainer.max_steps=6")
    assert freed.code == 0 and "after step 2" in freed.out, freed.err


@pytest.mark.long
def test_two_runs_started_at_once(colours, tmp_path):
    """In one second, into the same named folder and into folders of their own."""
    command = [sys.executable, str(ROOT / "train.py"), "dataset=imagefolder", f"dataset.root={colours}", *TINY,
               "trainer.max_epochs=1", "logger=csv"]  # fmt: skip

    def start(*more):
        return subprocess.Popen(
            [*command, *more], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    same = [start("hydra.run.dir=same", f"seed={seed}") for seed in (1, 2)]
    ended = sorted((process.communicate()[1], process.returncode)[::-1] for process in same)
    assert [code for code, _ in ended] == [0, 1]
    assert "hydra.run.dir=same is in use by another run" in ended[1][1] or "holds a run already" in ended[1][1]
    kept = (tmp_path / "same/.hydra/overrides.yaml").read_text()
    winner = next(seed for seed, process in zip((1, 2), same, strict=True) if process.returncode == 0)
    assert f"seed={winner}" in kept
    own = [start(f"seed={seed}") for seed in (1, 2)]
    for process in own:
        process.communicate()
    assert [process.returncode for process in own] == [0, 0]
    assert len(list(tmp_path.glob("outputs/train/*/*/summary.json"))) == 2


@pytest.mark.slow
def test_a_loss_that_is_no_number_leaves_no_checkpoint_of_it(script, colours, tmp_path):
    done = script(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run", "optimizer=sgd",
        "optimizer.lr=1e3", "trainer.max_epochs=50", "checkpoint.every_n_steps=1", "checkpoint.keep=null",
    )  # fmt: skip
    assert (
        done.code == 1
        and re.search("the (validation )?loss is (nan|inf) at step", done.err)
        and "lower optimizer.lr" in done.err
    )
    saved = list((tmp_path / "run/checkpoints").glob("*.ckpt"))
    for path in saved:
        state = torch.load(path, weights_only=True)
        assert float(state["callbacks"]["Checkpoints"]["metrics"]["train/loss"]) < float("inf")


def test_a_last_step_that_ruins_the_network_leaves_no_checkpoint_of_it(script, colours, tmp_path, monkeypatch):
    """The loss of a step is measured before it changes the weights; the validation after it sees what came of them."""

    def ruin(self, *_):
        if self.trainer.global_step == 2:
            with torch.no_grad():
                self.classifier.head.linear.weight.fill_(float("nan"))

    monkeypatch.setattr("camexp.training.module.CAMModule.on_train_batch_end", ruin, raising=False)
    done = script(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run", "trainer.max_steps=2",
        "checkpoint.every_n_steps=1", "checkpoint.keep=null",
    )  # fmt: skip
    assert done.code == 1 and "the validation loss is nan at step 2: lower optimizer.lr" in done.err, done.err
    saved = sorted(path.name for path in (tmp_path / "run/checkpoints").glob("*.ckpt"))
    assert saved == ["last.ckpt", "step_000001.ckpt"]
    assert not (tmp_path / "run/summary.json").exists()


def test_masks_and_boxes_of_other_images(tmp_path, colours):
    from camexp.data import find_imagefolder
    from camexp.evaluation.ground_truth import load_truth

    images = find_imagefolder(str(colours))
    (tmp_path / "masks" / "red").mkdir(parents=True)
    Image.new("L", (7, 7)).save(tmp_path / "masks" / "red" / "red_0.png")
    truth = load_truth(None, str(tmp_path / "masks"), images)
    with pytest.raises(UserError, match="7×7 and its image"):
        truth.masks(next(iter(truth.masked)))
