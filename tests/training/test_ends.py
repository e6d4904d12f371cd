"""Where a run ends, and what its last figures are of."""

from __future__ import annotations

import json
import multiprocessing
import signal

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from PIL import Image

import camexp
from tests.cli.conftest import rows
from tests.training.conftest import require_same, trip


@pytest.mark.slow
def test_a_run_cannot_end_before_its_checkpoint(run, tmp_path):
    """Two epochs of three steps are behind; what they left stays."""
    assert run("run", "trainer.max_epochs=2").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.*") if path.suffix in (".json", ".csv")}
    for option, ends, enough in (("max_epochs=1", 3, "max_epochs=2"), ("max_steps=4", 4, "max_steps=6")):
        refused = run("run", "trainer.max_epochs=2", f"trainer.{option}")
        assert refused.code == 1 and refused.err.count("\n") == 1, refused.err
        assert f"trainer.{option} ends at step {ends}, and run/checkpoints/step_000006.ckpt is at step 6" in refused.err
        assert f"give trainer.{enough} or more" in refused.err
    assert before == {path: path.read_bytes() for path in before}
    assert "summary.json" in {path.name for path in before}


# validated after steps 2, 4, 6 and 8; the training loss of an epoch of three steps does not fall
STOPPED_AT_AN_EPOCHS_END = (
    "optimizer.lr=1e-9",
    "+callbacks.es={_target_:pytorch_lightning.callbacks.EarlyStopping,monitor:train/loss,patience:2,"
    "min_delta:9,check_on_train_epoch_end:true}",
)  # fmt: skip


@pytest.mark.slow
def test_the_last_figures_are_of_the_last_step(run, tmp_path):
    """Another callback stops the run at an epoch's end, where no validation was due."""
    done = run("run", "trainer.max_epochs=30", *STOPPED_AT_AN_EPOCHS_END)
    assert done.code == 0, done.err
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    steps = [int(row["step"]) for row in rows(tmp_path / "run/metrics.csv") if row["val/loss"]]
    assert summary["steps"] == 9 and steps == [2, 4, 6, 8, 9]
    model = camexp.load(tmp_path / "run/checkpoints/last.ckpt", "cpu")
    losses = []
    for row in rows(tmp_path / "run/splits/val.csv"):
        with Image.open(row["path"]) as image, torch.no_grad():
            logits = model(model.preprocess(image)[None])
        losses.append(float(F.cross_entropy(logits, torch.tensor([int(row["label"])]))))
    assert summary["final"]["val/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.slow
def test_a_run_interrupted_in_the_validation_at_its_end_ends_there(run, tmp_path):
    options = STOPPED_AT_AN_EPOCHS_END
    assert run("whole", *options).code == 0
    assert run("parts", *options, trip(9, "on_validation_batch_end", signal.SIGTERM)).code == 143
    done = run("parts", *options)
    assert done.code == 0, done.err
    require_same(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts/summary.json").unlink()  # killed before it could write this
    assert run("parts", *options).code == 0
    require_same(tmp_path / "whole", tmp_path / "parts")


class KillWorker(pl.Callback):
    """Kill the data loader's worker after a step, as a system short of memory does."""

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == 4:
            for process in multiprocessing.active_children():
                process.kill()
                process.join()


@pytest.mark.slow
def test_a_killed_worker_is_told(run):
    done = run("run", "num_workers=1", "+callbacks.kill={_target_:tests.training.test_ends.KillWorker}")
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert "one of num_workers=1 data-loader workers was killed" in done.err
    assert "fewer num_workers" in done.err and "resume=auto resumes" in done.err


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError(104, "Connection reset by peer"), RuntimeError("DataLoader worker (pid 7) is killed")],
)
def test_a_lost_worker_is_told_however_it_is_noticed(run, monkeypatch, error):
    def lose(*_, **__):
        raise error

    monkeypatch.setattr(pl.Trainer, "fit", lose)
    done = run("run", "num_workers=3")
    assert done.code == 1 and done.err.startswith("error: one of num_workers=3 data-loader workers was killed"), (
        done.err
    )
    assert "resume=auto" not in done.err  # nothing is saved yet


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_is_no_lost_worker(run, monkeypatch, workers):
    def fail(*_, **__):
        raise ConnectionResetError("Caught ConnectionResetError in DataLoader worker process 0." if workers else "gone")

    monkeypatch.setattr(pl.Trainer, "fit", fail)
    assert "was killed" not in run("run", f"num_workers={workers}").err
