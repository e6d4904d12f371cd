"""train.py as its user runs it: what a run does and leaves."""

import json
import re
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import camexp
from tests.cli.conftest import accuracy_by_hand, rows
from tests.conftest import TINY, paint


@pytest.mark.slow
def test_a_run_leaves_all_it_promises(train, tmp_path):
    done = train("trainer.max_epochs=4", "inspect.every_n_steps=5", "checkpoint.every_n_steps=3", "checkpoint.keep=2",
               "optimizer.lr=1e-2")  # fmt: skip
    assert done.code == 0, done.err
    folder = tmp_path / "run"
    steps = 4 * 3  # 18 training images in batches of 8
    for name in (".hydra/config.yaml", "train.log", "metrics.csv", "summary.json", "classes.csv", "splits/train.csv",
                 "splits/val.csv", "cams/evolution.png", "cams/evolution.gif", "cams/steps.csv", "cams/maps.jsonl", "report.html"):  # fmt: skip
        assert (folder / name).stat().st_size > 0, name
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "best.ckpt", "last.ckpt", f"step_{steps - 3:06d}.ckpt", f"step_{steps:06d}.ckpt"
    ]  # fmt: skip
    snapshots = [f"step_{step:06d}" for step in (0, 5, 10, 12)]
    assert sorted(path.stem for path in (folder / "cams").glob("step_*.png")) == snapshots
    assert np.load(folder / "cams" / "step_000010.npy").shape == (1, 2, 2)
    with Image.open(folder / "cams" / "evolution.gif") as animation:
        assert animation.n_frames == 4

    summary = json.loads((folder / "summary.json").read_text())
    assert summary["steps"] == steps
    assert summary["final"]["val/accuracy"] == pytest.approx(accuracy_by_hand(folder, "last"))
    assert summary["best"]["val/accuracy"] == pytest.approx(accuracy_by_hand(folder, "best"))
    assert summary["best"]["val/accuracy"] >= summary["final"]["val/accuracy"]
    assert summary["versions"]["torch"] == version("torch")
    checks = [row for row in rows(folder / "metrics.csv") if row["val/accuracy"]]
    assert [int(row["step"]) for row in checks] == [3, 6, 9, 12]
    assert float(checks[-1]["val/accuracy"]) == pytest.approx(summary["final"]["val/accuracy"], abs=1e-5)

    assert "validation accuracy" in done.out
    command = re.search(r"python \S*predict\.py ckpt=\S+ input=\S+", done.out)
    assert command
    model = camexp.load(folder / "checkpoints" / "best.ckpt")
    assert model.classes == ("blue", "green", "red")


@pytest.mark.slow
def test_splits_and_classes_are_written(train, tmp_path, colours):
    assert train("trainer.max_steps=1").code == 0
    folder = tmp_path / "run"
    train, val = rows(folder / "splits" / "train.csv"), rows(folder / "splits" / "val.csv")
    assert len(train) + len(val) == 24
    assert {row["path"] for row in train}.isdisjoint(row["path"] for row in val)
    assert all(row["class"] in row["path"] for row in train + val)
    assert [(row["name"], row["train"], row["val"]) for row in rows(folder / "classes.csv")] == [
        ("blue", "6", "2"), ("green", "6", "2"), ("red", "6", "2")
    ]  # fmt: skip


@pytest.mark.slow
def test_checkpoints_are_lightnings_and_hold_nothing_executable(train, tmp_path):
    assert train("trainer.max_steps=2").code == 0
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "camexp"} <= checkpoint.keys()
    assert checkpoint["global_step"] == 2
    assert checkpoint["camexp"]["config"]["batch_size"] == 8


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(train, tmp_path):
    states = []
    for seed, folder in ((1, "a"), (1, "b"), (2, "c")):
        assert train("trainer.max_steps=3", f"seed={seed}", f"hydra.run.dir={folder}", "transform=augment").code == 0
        states.append(torch.load(tmp_path / folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.slow
def test_snapshots_do_not_change_the_training(train, tmp_path):
    states = []
    for every in (1, 0):
        assert train("trainer.max_steps=4", f"inspect.every_n_steps={every}", f"hydra.run.dir=every{every}").code == 0
        states.append(torch.load(tmp_path / f"every{every}/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.slow
def test_several_images_and_labels_are_inspected(train, tmp_path):
    strange = paint(tmp_path / "it's, a [dot] = ü.png", (30, 30, 220), size=(90, 50))
    done = train(
        "trainer.max_steps=2",
        f"inspect.image=[{tmp_path}/colours/red/red_1.png,'{str(strange).replace(chr(39), chr(92) + chr(39))}']",
        "inspect.label=[red,0]",
    )
    assert done.code == 0, done.err
    listed = rows(tmp_path / "run/cams/steps.csv")
    assert [row["class"] for row in listed] == ["red", "blue", "red", "blue"] * 2
    assert np.load(tmp_path / "run/cams/step_000002.npy").shape == (4, 2, 2)


@pytest.mark.slow
def test_an_image_whose_name_hydra_would_refuse(train, tmp_path):
    strange = paint(tmp_path / "it's, a [dot] = ü.png", (30, 30, 220))
    done = train("trainer.max_steps=1", f"inspect.image={strange}", "inspect.label=blue", "logger=csv")
    assert done.code == 0, done.err
    assert rows(tmp_path / "run/cams/steps.csv")[0]["class"] == "blue"


def test_command_classes_prints_the_table_and_stops(train, tmp_path):
    done = train("command=classes")
    assert done.code == 0
    assert re.search(r"1\s+green\s+6\s+2", done.out)
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.slow
def test_frozen_trunk_stays_as_it_was(train, tmp_path, colours):
    from camexp.models import build_trunk

    torch.manual_seed(3)
    trunk = build_trunk("vgg11", 1 / 16)
    torch.save({f"features.{key}": value for key, value in trunk.features.state_dict().items()}, tmp_path / "w.pth")
    done = train("model.weights=w.pth", "model.freeze=conv5_1", "trainer.max_steps=3")
    assert done.code == 0, done.err
    assert "frozen: conv1_1 … conv4_2" in done.out
    after = camexp.load(tmp_path / "run/checkpoints/last.ckpt", "cpu").trunk
    for name, (conv,) in trunk.layers.items():
        assert torch.equal(conv.weight, after.layers[name][0].weight) == (not name.startswith("conv5"))


@pytest.mark.slow
def test_a_sweep_gives_each_job_its_folder(script, colours, tmp_path):
    done = script("train.py", "-m", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_steps=1",
                  "optimizer.lr=1e-3,1e-4", "hydra.sweep.dir=sweep")  # fmt: skip
    assert done.code == 0, done.err
    rates = [
        json.loads(
            json.dumps(
                torch.load(tmp_path / f"sweep/{job}/checkpoints/last.ckpt", weights_only=True)["camexp"]["config"][
                    "optimizer"
                ]["lr"]
            )
        )
        for job in (0, 1)
    ]
    assert rates == [1e-3, 1e-4]


@pytest.mark.slow
def test_stairs_count_epochs_even_where_steps_end_the_run(train, tmp_path):
    done = train("scheduler=stairs", "scheduler.every_epochs=1", "trainer.max_steps=6", "trainer.max_epochs=25",
               "trainer.log_every_n_steps=1")  # fmt: skip
    assert done.code == 0, done.err
    rates = [float(row["lr"]) for row in rows(tmp_path / "run/metrics.csv") if row["lr"]]
    assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_other_precisions(train, precision):
    done = train(f"precision={precision}", "trainer.max_steps=2")
    assert done.code == 0, done.err


def test_another_method_for_the_watched_image(train):
    done = train("cam=layercam", "trainer.max_steps=2")
    assert done.code == 0, done.err
    assert np.load(Path("run") / "cams" / "step_000002.npy").min() >= 0  # layercam's maps are, cam's are not


def test_what_is_null_among_callbacks_and_loggers_is_left_out(train):
    done = train("callbacks=early_stopping", "callbacks.early_stopping=null", "logger.tensorboard=null",
                 "trainer.max_steps=1")  # fmt: skip
    assert done.code == 0, done.err
    assert (Path("run") / "summary.json").exists() and not list(Path("run").glob("events.out*"))
