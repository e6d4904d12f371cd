"""train.py as its user runs it."""

import csv
import json
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import camexp
from tests.conftest import ROOT, TINY, paint, run_process, running


@pytest.fixture
def run(script, colours, tmp_path):
    def call(*arguments):
        return script(
            "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run", *arguments
        )

    return call


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def accuracy_by_hand(folder, name):
    """Of a checkpoint on the images that the run's own list names, one by one."""
    model = camexp.load(folder / "checkpoints" / f"{name}.ckpt", "cpu")
    listed = rows(folder / "splits" / "val.csv")
    right = 0
    for row in listed:
        with Image.open(row["path"]) as image, torch.no_grad():
            right += int(model(model.preprocess(image)[None]).argmax()) == int(row["label"])
    return right / len(listed)


@pytest.mark.slow
def test_a_run_leaves_all_it_promises(run, tmp_path):
    done = run("trainer.max_epochs=4", "inspect.every_n_steps=5", "checkpoint.every_n_steps=3", "checkpoint.keep=2",
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
def test_splits_and_classes_are_written(run, tmp_path, colours):
    assert run("trainer.max_steps=1").code == 0
    folder = tmp_path / "run"
    train, val = rows(folder / "splits" / "train.csv"), rows(folder / "splits" / "val.csv")
    assert len(train) + len(val) == 24
    assert {row["path"] for row in train}.isdisjoint(row["path"] for row in val)
    assert all(row["class"] in row["path"] for row in train + val)
    assert [(row["name"], row["train"], row["val"]) for row in rows(folder / "classes.csv")] == [
        ("blue", "6", "2"), ("green", "6", "2"), ("red", "6", "2")
    ]  # fmt: skip


@pytest.mark.slow
def test_checkpoints_are_lightnings_and_hold_nothing_executable(run, tmp_path):
    assert run("trainer.max_steps=2").code == 0
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert {"state_dict", "optimizer_states", "lr_schedulers", "loops", "global_step", "camexp"} <= checkpoint.keys()
    assert checkpoint["global_step"] == 2
    assert checkpoint["camexp"]["config"]["batch_size"] == 8


@pytest.mark.slow
def test_the_same_seed_trains_the_same_network(run, tmp_path):
    states = []
    for seed, folder in ((1, "a"), (1, "b"), (2, "c")):
        assert run("trainer.max_steps=3", f"seed={seed}", f"hydra.run.dir={folder}", "transform=augment").code == 0
        states.append(torch.load(tmp_path / folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.slow
def test_snapshots_do_not_change_the_training(run, tmp_path):
    states = []
    for every in (1, 0):
        assert run("trainer.max_steps=4", f"inspect.every_n_steps={every}", f"hydra.run.dir=every{every}").code == 0
        states.append(torch.load(tmp_path / f"every{every}/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.slow
def test_several_images_and_labels_are_inspected(run, tmp_path):
    strange = paint(tmp_path / "it's, a [dot] = ü.png", (30, 30, 220), size=(90, 50))
    done = run(
        "trainer.max_steps=2",
        f"inspect.image=[{tmp_path}/colours/red/red_1.png,'{str(strange).replace(chr(39), chr(92) + chr(39))}']",
        "inspect.label=[red,0]",
    )
    assert done.code == 0, done.err
    listed = rows(tmp_path / "run/cams/steps.csv")
    assert [row["class"] for row in listed] == ["red", "blue", "red", "blue"] * 2
    assert np.load(tmp_path / "run/cams/step_000002.npy").shape == (4, 2, 2)


@pytest.mark.slow
def test_an_image_whose_name_hydra_would_refuse(run, tmp_path):
    strange = paint(tmp_path / "it's, a [dot] = ü.png", (30, 30, 220))
    done = run("trainer.max_steps=1", f"inspect.image={strange}", "inspect.label=blue", "logger=csv")
    assert done.code == 0, done.err
    assert rows(tmp_path / "run/cams/steps.csv")[0]["class"] == "blue"


@pytest.mark.slow
def test_tensorboard_has_curves_pictures_config_and_hyperparameters(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run("trainer.max_epochs=4", "trainer.log_every_n_steps=2").code == 0
    (file,) = (tmp_path / "run").rglob("events.out*")
    assert file.parent == tmp_path / "run"  # TensorBoard calls a run by the folder of its events
    events = EventAccumulator(str(file.parent)).Reload()
    assert sorted(events.Tags()["scalars"]) == [
        "accuracy/train", "accuracy/val", "loss/train", "loss/val", "rate/images_per_second", "rate/lr",
        "regularisation/l2",
    ]  # fmt: skip
    assert set(events.Tags()["images"]) == {"maps/snapshot", "maps/evolution"}
    assert "config/text_summary" in events.Tags()["tensors"]
    assert [event.step for event in events.Scalars("accuracy/val")] == [3, 6, 9, 12]
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    last = rows(tmp_path / "run/metrics.csv")[-1]
    assert events.Scalars("accuracy/val")[-1].value == pytest.approx(summary["final"]["val/accuracy"])
    assert events.Scalars("loss/val")[-1].value == pytest.approx(float(last["val/loss"]), rel=1e-4)


def hparams_of(events, part):
    """What a run tells TensorBoard's HParams tab."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = events.summary_metadata[f"_hparams_/{part}"].plugin_data.content
    return getattr(HParamsPluginData.FromString(content), part)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["shapes", "imagefolder"])
def test_tensorboard_has_charts_and_what_runs_are_told_apart_by(script, colours, tmp_path, dataset):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    data = {"shapes": ("dataset.classes=2", "dataset.per_class=4", "dataset.size=32"),
            "imagefolder": (f"dataset.root={colours}",)}[dataset]  # fmt: skip
    done = script("train.py", f"dataset={dataset}", *TINY, *data, "hydra.run.dir=run", "trainer.max_epochs=1",
                  "trainer.log_every_n_steps=1", "scheduler=stairs", "optimizer.lr=3e-3", "inspect.alpha=0.4",
                  "cam.flip=true")  # fmt: skip
    assert done.code == 0, done.err
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    scalars = events.Tags()["scalars"]
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    (category,) = layout.category
    drawn = {chart.title: [tag for tag in scalars if any(re.search(one, tag) for one in chart.multiline.tag)]
             for chart in category.chart}  # fmt: skip
    localisation = {"localisation: peak on object": ["maps/peak_on_object"]} if dataset == "shapes" else {}
    assert {title: sorted(tags) for title, tags in drawn.items()} == {
        "loss": ["loss/train", "loss/val"], "accuracy": ["accuracy/train", "accuracy/val"], **localisation,
        "learning rate": ["rate/lr"], "images per second": ["rate/images_per_second"],
    }  # fmt: skip

    told = {name: value.number_value or value.string_value
            for name, value in hparams_of(events, "session_start_info").hparams.items()}  # fmt: skip
    assert (told["scheduler"], told["optimizer.lr"], told["dataset"], told["model"]) == (
        "stairs",
        3e-3,
        dataset,
        "vgg11",
    )
    assert told["cam.flip"] == "true" and told["batch_size"] == 8
    assert not {"inspect.alpha", "trainer.gpus", "num_workers", "run_dir", "cam.method"} & set(told)
    experiment = hparams_of(events, "experiment")
    assert {column.name for column in experiment.hparam_infos} == set(told)
    first = {column.name for column in experiment.hparam_infos if column.differs}
    assert {"scheduler", "optimizer.lr", "cam.flip", "model"} <= first and not {"seed", "optimizer"} & first
    metrics = [metric.name.tag for metric in experiment.metric_infos]
    assert metrics[:2] == ["accuracy/val", "loss/val"] and set(metrics) <= set(scalars)
    assert ("maps/peak_on_object" in metrics) == (dataset == "shapes")
    if dataset == "shapes":
        measured = json.loads((tmp_path / "run/summary.json").read_text())["final"]["val/pointing"]
        points = events.Scalars("maps/peak_on_object")  # a curve, one value a validation
        assert [point.step for point in points] == [point.step for point in events.Scalars("accuracy/val")]
        assert points[-1].value == pytest.approx(measured)
        with (tmp_path / "run/metrics.csv").open(newline="") as file:
            column = [float(row["val/pointing"]) for row in csv.DictReader(file) if row["val/pointing"]]
        assert column == pytest.approx([point.value for point in points], abs=1e-6)


@pytest.mark.slow
def test_lightnings_own_tensorboard_logger_still_has_its_names(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    own = "logger.tensorboard._target_=pytorch_lightning.loggers.TensorBoardLogger"
    assert run("trainer.max_epochs=1", own, "logger.tensorboard.version=mine").code == 0
    tags = EventAccumulator(str(tmp_path / "run/mine")).Reload().Tags()
    assert {"val/accuracy", "final/val/accuracy"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"cams/snapshot", "cams/evolution"}


def test_command_classes_prints_the_table_and_stops(run, tmp_path):
    done = run("command=classes")
    assert done.code == 0
    assert re.search(r"1\s+green\s+6\s+2", done.out)
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.slow
def test_frozen_trunk_stays_as_it_was(run, tmp_path, colours):
    from camexp.models import build_trunk

    torch.manual_seed(3)
    trunk = build_trunk("vgg11", 1 / 16)
    torch.save({f"features.{key}": value for key, value in trunk.features.state_dict().items()}, tmp_path / "w.pth")
    done = run("model.weights=w.pth", "model.freeze=conv5_1", "trainer.max_steps=3")
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
def test_stairs_count_epochs_even_where_steps_end_the_run(run, tmp_path):
    done = run("scheduler=stairs", "scheduler.every_epochs=1", "trainer.max_steps=6", "trainer.max_epochs=25",
               "trainer.log_every_n_steps=1")  # fmt: skip
    assert done.code == 0, done.err
    rates = [float(row["lr"]) for row in rows(tmp_path / "run/metrics.csv") if row["lr"]]
    assert rates == pytest.approx([1e-3] * 3 + [1e-4] * 3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_other_precisions(run, precision):
    done = run(f"precision={precision}", "trainer.max_steps=2")
    assert done.code == 0, done.err


@pytest.mark.slow
def test_two_processes_share_a_run(colours, tmp_path):
    done = run_process("train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer=ddp_cpu",
                       "checkpoint.every_n_steps=3", "split.train_per_class=7",
                       "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("24 images of 3 classes") == 1  # one of them speaks
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()].count("run") == 1
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["devices"], summary["steps"]) == (2, 6)
    # three images on two processes: none is counted twice
    assert summary["final"]["val/accuracy"] == pytest.approx(accuracy_by_hand(tmp_path / "run", "last"))
    assert {"best.ckpt", "last.ckpt", "step_000003.ckpt"} <= {
        path.name for path in (tmp_path / "run/checkpoints").iterdir()
    }


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_state(colours, tmp_path):
    arguments = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_epochs=100000",
                 "checkpoint.every_n_steps=20", "hydra.run.dir=run")  # fmt: skip
    with running("train.py", *arguments, cwd=tmp_path) as process:
        process.until("step 21: validation")
        done = process.end(signal.SIGINT)
    assert done.code == 128 + signal.SIGINT
    assert "Traceback" not in done.out
    saved = re.search(r"stopped by Ctrl-C after step (\d+), saved as (\S+):", done.out)
    assert saved, done.out
    assert (tmp_path / "run/checkpoints/step_000020.ckpt").exists()
    checkpoint = torch.load(tmp_path / saved[2], weights_only=True)
    assert checkpoint["global_step"] == int(saved[1]) >= 20


@pytest.mark.slow
def test_help_is_quick_to_read_and_explains(tmp_path):
    done = run_process("train.py", "--help", cwd=tmp_path)
    assert done.code == 0
    assert "The ten options most used" in done.out
    assert "dataset: caltech101, caltech256, imagefolder, shapes" in done.out
    assert "python train.py dataset=caltech256" in done.out
    modules = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['train.py', '--help']; import runpy\ntry: runpy.run_path('{ROOT / 'train.py'}', run_name='__main__')\nexcept SystemExit: pass\nprint('torch' in sys.modules)"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert modules.stdout.rstrip().endswith("False")  # torch takes seconds to import


@pytest.mark.slow
def test_a_process_of_its_own_prints_plain_lines(colours, tmp_path):
    done = run_process(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run", cwd=tmp_path
    )
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert re.search(r"step 6: validation accuracy \d\.\d+, loss", done.out)
    assert "Warning" not in done.err, done.err


def test_another_method_for_the_watched_image(run):
    done = run("cam=layercam", "trainer.max_steps=2")
    assert done.code == 0, done.err
    assert np.load(Path("run") / "cams" / "step_000002.npy").min() >= 0  # layercam's maps are, cam's are not
