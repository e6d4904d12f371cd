"""What TensorBoard shows of a run of train.py."""

import csv
import json
import re

import pytest

from tests.cli.conftest import rows
from tests.conftest import TINY


@pytest.mark.slow
def test_tensorboard_has_curves_pictures_config_and_hyperparameters(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert train("trainer.max_epochs=4", "trainer.log_every_n_steps=2").code == 0
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
def test_lightnings_own_tensorboard_logger_still_has_its_names(train, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    own = "logger.tensorboard._target_=pytorch_lightning.loggers.TensorBoardLogger"
    assert train("trainer.max_epochs=1", own, "logger.tensorboard.version=mine").code == 0
    tags = EventAccumulator(str(tmp_path / "run/mine")).Reload().Tags()
    assert {"val/accuracy", "final/val/accuracy"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"cams/snapshot", "cams/evolution"}
