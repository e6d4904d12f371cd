"""An interrupted run that goes on ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from camexp.models.trunks import build_trunk
from camexp.training.position import Position
from camexp.training.resume import newest_intact
from tests.conftest import TINY, run_process, running
from tests.training.conftest import OPTIONS, require_same, trip

ACCURATE = (
    "optimizer=sgd", "model.head.kind=gap", "model.head.cells=3", "model.head.power=0.5", "model.head.norm=10",
    "loss.label_smoothing=0.1",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("model.freeze=none", "transform=augment"),
        pytest.param(("model.freeze=none", "transform=augment", "num_workers=2"), marks=pytest.mark.long),
        ("model.freeze=trunk", "model.weights=w.safetensors", "transform=flip", "features.cache=FEATURES"),
        pytest.param(
            ("model.freeze=trunk", "model.weights=w.safetensors", "features.cache=FEATURES", *ACCURATE),
            marks=pytest.mark.long,
        ),
        pytest.param(
            ("model.freeze=none", "trainer.max_steps=11", "trainer.check_every_n_steps=100"), marks=pytest.mark.long
        ),
    ],
    ids=["plain", "workers", "features", "accurate", "checks-at-epoch-ends"],
)
def test_any_interruption_leaves_no_trace(run, tmp_path, options):
    def at(name):
        return [option.replace("FEATURES", f"{name}-features") for option in options]

    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), tmp_path / "w.safetensors")
    assert run("whole", *at("whole")).code == 0
    stumbled = 0
    stumbles = [
        (0, "on_train_start", None), (1, "on_train_batch_end", None), (2, "on_validation_batch_end", signal.SIGTERM),
        (3, "on_train_batch_end", signal.SIGUSR1), (4, "on_train_batch_start", None), (5, "on_train_epoch_end", None),
        (6, "on_validation_batch_end", signal.SIGTERM), (6, "on_validation_end", None),
        (7, "on_train_batch_end", signal.SIGINT), (8, "on_train_epoch_start", None),
        (11, "on_validation_batch_end", signal.SIGTERM), (11, "on_validation_end", None), (11, "on_train_end", None),
    ]  # fmt: skip
    for step, when, signum in stumbles:
        done = run("parts", *at("parts"), trip(step, when, signum))
        assert done.code in (0, 1 if signum is None else 128 + signum), done.err
        stumbled += done.code > 0
        if done.code > 1:
            assert "saved as" in done.out and "resume=auto" in done.out
    done = run("parts", *at("parts"))
    assert done.code == 0, done.err
    assert stumbled == len(stumbles)
    require_same(tmp_path / "whole", tmp_path / "parts")
    assert "finished already" in run("parts", *at("parts")).out


@pytest.mark.slow
def test_a_run_that_stopped_early_stays_stopped(run, tmp_path):
    options = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-9")
    assert run("run", *options).code == 0
    summary = tmp_path / "run/summary.json"
    steps = json.loads(summary.read_text())["steps"]
    assert steps < 12
    summary.unlink()  # it was killed before it could write this
    done = run("run", *options)
    assert done.code == 0 and json.loads(summary.read_text())["steps"] == steps, done.err


@pytest.mark.slow
def test_another_network_in_the_same_file_is_refused(run, tmp_path):
    options = ("model.freeze=trunk", "model.weights=w.safetensors", "features.cache=off")
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), tmp_path / "w.safetensors")
    assert run("run", *options, "trainer.max_epochs=1").code == 0
    save_file(build_trunk("vgg11", 1 / 16).features.state_dict(), tmp_path / "w.safetensors")
    done = run("run", *options, "trainer.max_epochs=2")
    assert done.code == 1 and "model.weights gives another network" in done.err and done.err.count("\n") == 1


@pytest.mark.slow
def test_nothing_is_thrown_away_where_no_checkpoint_can_be_read(run, tmp_path):
    assert run("run", "trainer.max_epochs=1").code == 0
    for path in (tmp_path / "run/checkpoints").glob("*.ckpt"):
        path.write_bytes(b"of another version")
    done = run("run", "trainer.max_epochs=2")
    assert done.code == 1 and "remove them to restart" in done.err
    assert (tmp_path / "run/metrics.csv").exists() and (tmp_path / "run/summary.json").exists()


def test_positions():
    assert Position.after(0, 3) == (0, 0, True)
    assert Position.after(3, 3) == (1, 0, True)
    assert Position.after(3, 3, validated=False) == (0, 3, False)
    assert Position.after(4, 3, validated=False) == (1, 1, False)


def damage(path: Path, how: str) -> None:
    """As a power cut, or a disk, leaves a file. Other names of the same bytes stay as they are."""
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "cut":
        content = content[: len(content) // 2]
    elif how == "flipped":  # in the middle of some tensor
        with zipfile.ZipFile(BytesIO(bytes(content))) as archive:
            largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        content[largest.header_offset + 200 + largest.file_size // 2] ^= 1
    else:
        content = bytearray()
    path.write_bytes(content)


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(run, tmp_path):
    options = ("model.freeze=none",)
    assert run("whole", *options).code == 0
    assert run("parts", *options, trip(9, "on_train_batch_end", signal.SIGTERM)).code == 143
    folder = tmp_path / "parts/checkpoints"
    damage(folder / "last.ckpt", "cut")
    damage(folder / "step_000008.ckpt", "flipped")
    damage(folder / "step_000006.ckpt", "empty")
    (folder / ".123~last.ckpt").write_bytes(b"half a file that a killed process left")
    done = run("parts", *options)
    assert done.code == 0, done.err
    assert "from parts/checkpoints/step_000004.ckpt, after step 4" in done.out
    assert "last.ckpt is corrupted" in done.out and "step_000008.ckpt is corrupted (checksum" in done.out
    require_same(tmp_path / "whole", tmp_path / "parts")
    assert newest_intact(folder)
    assert not (folder / ".123~last.ckpt").exists()


@pytest.mark.slow
def test_what_may_change_in_the_middle_and_what_not(run, colours):
    assert run("run", "trainer.max_epochs=1").code == 0
    refused = run("run", "trainer.max_epochs=2", "optimizer.lr=1e-3", "model.head.channels=4")
    assert refused.code == 1 and refused.err.count("\n") == 1
    assert "model.head.channels=4 (was 8), optimizer.lr=0.001 (was 0.01) cannot change" in refused.err
    clipped = run("run", "trainer.max_epochs=1", "trainer.gradient_clip_val=0.1")  # also where it is finished
    assert clipped.code == 1 and "trainer.gradient_clip_val=0.1 (was None) cannot change" in clipped.err
    allowed = run("run", "trainer.max_epochs=2", "inspect.alpha=0.3")
    assert allowed.code == 0, allowed.err
    assert "changed since: inspect.alpha=0.3 (was 0.5), trainer.max_epochs=2 (was 1)" in allowed.out
    assert "after step 3" in allowed.out and "step 6: validation" in allowed.out
    (colours / "red" / "red_0.png").unlink()
    changed = run("run", "trainer.max_epochs=3")
    assert changed.code == 1 and "images or the classes" in changed.err and changed.err.count("\n") == 1


@pytest.mark.slow
def test_a_run_of_an_earlier_version_goes_on(run):
    """Its configuration lacks the options that have come since, whose defaults are what it did."""
    assert run("run", "trainer.max_epochs=1").code == 0
    for path in Path("run/checkpoints").glob("*.ckpt"):
        checkpoint = torch.load(path, weights_only=True)
        config = checkpoint["camexp"]["config"]
        # best.ckpt and last.ckpt may be one file
        config["optimizer"].pop("head_factor", None)
        config["model"] = {key: value for key, value in config["model"].items() if key != "out_layers"}
        config["model"]["head"] = {
            key: config["model"]["head"][key] for key in ("channels", "dropout", "l2", "init_std")
        }
        torch.save(checkpoint, path)
    assert "optimizer.head_factor=2.0 (was 1.0)" in run("run", "optimizer.head_factor=2").err
    assert "model.head.pool=lse (was gap)" in run("run", "model.head.pool=lse").err
    done = run("run", "trainer.max_epochs=2")
    assert done.code == 0, done.err
    assert json.loads(Path("run/summary.json").read_text())["steps"] == 6


@pytest.mark.slow
def test_tensorboard_shows_each_step_once(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def scalars(folder, tags):
        (place,) = {path.parent for path in (tmp_path / folder).rglob("events.out*")}
        assert place == tmp_path / folder
        events = EventAccumulator(str(place), size_guidance={"scalars": 0}).Reload()
        return [[(e.step, e.value) for e in events.Scalars(tag)] for tag in tags]

    assert run("whole").code == 0
    assert run("parts", trip(5, "on_train_batch_end")).code == 1
    assert run("parts", trip(9, "on_train_batch_end", signal.SIGTERM)).code == 143
    assert run("parts").code == 0
    tags = ("loss/train", "accuracy/val", "rate/lr")
    assert scalars("whole", tags) == scalars("parts", tags)
    assert len(scalars("parts", tags)[0]) == 12
    # a run begun with an earlier version: its events in a folder of their own, under the metrics' names
    earlier = ("logger.tensorboard._target_=pytorch_lightning.loggers.TensorBoardLogger",
               "logger.tensorboard.version=tensorboard")  # fmt: skip
    assert run("earlier", *earlier, trip(5, "on_train_batch_end")).code == 1
    assert run("earlier").code == 0
    assert scalars("earlier/tensorboard", ("train/loss", "val/accuracy", "lr")) == scalars("whole", tags)
    assert list((tmp_path / "earlier").rglob("events.out*")) == list((tmp_path / "earlier/tensorboard").glob("events*"))


@pytest.mark.slow
def test_killed_at_any_moment(colours, tmp_path):
    """``kill -9`` at random moments of a process of its own, between one step and the next."""
    common = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, *OPTIONS, "num_workers=1", "transform=augment",
              "trainer.max_epochs=40", "logger=csv")  # fmt: skip
    assert run_process("train.py", *common, "hydra.run.dir=whole", cwd=tmp_path).code == 0
    moments, ends = random.Random(0), []
    for _ in range(5):
        with running("train.py", *common, "hydra.run.dir=parts", "resume=auto", cwd=tmp_path) as process:
            process.until("run folder")  # the start takes seconds in which there is nothing to lose
            for _ in range(moments.randint(1, 10)):
                begun = time.monotonic()
                process.until(r"step \d+: validation")
            time.sleep(moments.uniform(0, 1) * (time.monotonic() - begun))  # anywhere before the next line
            os.killpg(process.process.pid, signal.SIGKILL)
            ends.append(process.end().code)
    assert ends[0] == -signal.SIGKILL and set(ends) <= {-signal.SIGKILL, 0}  # on a busy machine the last may be late
    done = run_process("train.py", *common, "hydra.run.dir=parts", "resume=auto", cwd=tmp_path)
    assert done.code == 0, done.err
    require_same(tmp_path / "whole", tmp_path / "parts")
