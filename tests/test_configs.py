"""Every configuration that ships is composed and its parts are built."""

import json

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from camexp import models
from camexp.config import (
    DatasetOptions,
    EvaluateOptions,
    ExploreOptions,
    ExportOptions,
    HeadOptions,
    PredictOptions,
    SplitOptions,
    TrainerOptions,
    TrainOptions,
    flat,
)
from camexp.config.__main__ import CONF, SCHEMA, WRITTEN, schema, written
from camexp.config.describe import fields_of
from camexp.config.instantiate import instantiate
from camexp.config.validation import validated
from camexp.data import build_images, split_images
from camexp.devices import select_devices
from camexp.errors import UserError
from camexp.precision import resolve_precision
from camexp.training.trainer import build_lightning_trainer
from tests.conftest import paint
from tests.data import layouts

CHOICES = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONF.glob("*/*.yaml")
    if path.parent.name not in ("hydra", "job_logging")
)


def composed(name, *overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(
            name, [*overrides, "run_dir=run"] if name == "train" else [*overrides, "ckpt=a", "input=b", "output=c"]
        )
    return validated(config, TrainOptions if name == "train" else PredictOptions)


def test_the_groups_are_all_tested():
    assert {choice.split("=")[0] for choice in CHOICES} == {path.name for path in CONF.iterdir() if path.is_dir()} - {
        "hydra",
        "__pycache__",
    }
    assert len(CHOICES) > 25


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_and_builds(choice, tmp_path, monkeypatch):
    if choice == "launch=ray":  # too heavy for the tests' own requirements
        pytest.importorskip("hydra_plugins.hydra_ray_launcher")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()  # a run has its folder before its loggers: mlflow 2 does not make it
    for number, name in ((1, "a"), (2, "b")):  # a folder that each of the data sets takes for its own
        for image in range(1, 4):
            paint(
                tmp_path / "data" / f"{number:03d}.{name}" / f"{number:03d}_{image:04d}.jpg", (90, 90, 90), seed=image
            )
    options = composed("train", choice, "dataset.root=data")
    finder = options.dataset.extra["_target_"].removeprefix("camexp.data.find_")
    small = {"per_class": 2, "size": 32} if finder == "shapes" else {}
    if finder in ("cub200", "imagenet", "wsol", "torchvision", "huggingface", "webdataset"):  # no folder of classes
        small = getattr(layouts, finder)(tmp_path / finder)
    images = build_images(DatasetOptions.read(options.dataset.to_dict() | small))
    split = split_images(images, options.split, seed=0)
    assert split.train
    assert split.val
    size = options.transform.input_size
    # no weights here, and a thin network: what is tested is that the options fit
    thin = options.model.model_copy(
        update={
            "weights": None,
            "freeze": "none",
            "width": 1.0 if "/" in options.model.trunk else 1 / 16,
            "head": HeadOptions.read(options.model.head.to_dict() | {"channels": 8}),
        }
    )
    classifier = models.build_classifier(thin, ["a", "b"], size)
    optimizer = instantiate(options.optimizer.arguments, "optimizer", _partial_=True)(list(classifier.parameters()))
    assert isinstance(optimizer, torch.optim.Optimizer)
    if options.scheduler:
        scheduler = instantiate(options.scheduler, "scheduler", _partial_=True)(
            optimizer, total_steps=10, steps_per_epoch=5
        )
        assert isinstance(scheduler, torch.optim.lr_scheduler.LRScheduler)
    if options.transform.train:
        instantiate(options.transform.train | {"size": list(size)}, "transform")
    if options.regularise:
        instantiate(options.regularise, "regularise").attach(classifier)
    callbacks = [instantiate(callback, name) for name, callback in options.callbacks.items()]
    loggers = [instantiate(logger, f"logger={name}") for name, logger in options.logger.items()]
    devices = select_devices(options.trainer.gpus, options.trainer.cpu_processes)
    trainer = build_lightning_trainer(
        options.trainer, devices, resolve_precision(options.precision, "cpu"), 10, callbacks, loggers, tmp_path
    )
    assert trainer.max_epochs == options.trainer.max_epochs
    freezing = models.build_trunk(options.model.trunk, thin.width)
    from camexp.models.trunks import freeze

    freeze(freezing, options.model.freeze)


def test_caltech256_is_the_recipe():
    options = composed("train", "dataset=caltech256")
    assert options.model.to_dict() == {
        "trunk": "vgg19", "width": 1.0, "weights": "imagenet", "freeze": "trunk", "output_stride": None,
        "out_layers": None,
        "head": {
            "kind": "cam", "channels": 1024, "dropout": 0.5, "bias": False, "init_std": 0.01, "l2": 0.01,
            "pool": "gap", "tap_threshold": 0.1, "lse_r": 5.0, "gem_p": 3.0,
            "attention_channels": 128, "attention_gated": False, "cells": 1, "power": 1.0, "norm": None,
        },
    }  # fmt: skip
    assert (options.batch_size, options.trainer.max_epochs, options.transform.size) == (32, 25, 224)
    assert (options.optimizer.extra["_target_"], options.optimizer.lr) == ("torch.optim.Adam", 1e-3)
    assert options.optimizer.extra["betas"][0] == 0.5
    assert options.scheduler == {}
    assert (options.checkpoint.every_n_steps, options.trainer.check_every_n_steps) == (100, "auto")
    assert options.trainer.log_every_n_steps == 10
    assert composed("train", "experiment=recipe").split.all is True


def test_the_data_sets_own_defaults_give_way_to_the_command_line():
    options = composed("train", "model=vgg16", "model.width=0.5", "trainer.max_epochs=3")
    assert (options.model.trunk, options.model.width, options.trainer.max_epochs) == ("vgg16", 0.5, 3)
    assert composed("train").model.trunk == "vgg13_bn"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_yaml_says_what_the_options_say(name):
    text = (CONF / name).read_text(encoding="utf-8")
    assert written(text, WRITTEN[name]) == text, "run python -m camexp.config"


def test_the_schema_is_that_of_the_options():
    assert json.loads((CONF / SCHEMA).read_text(encoding="utf-8")) == json.loads(json.dumps(schema()))


@pytest.mark.parametrize("options", [TrainOptions, PredictOptions, EvaluateOptions, ExploreOptions, ExportOptions])
def test_every_option_is_explained(options):
    def explained(group):
        for field in fields_of(group):
            assert field.is_group or field.info.description, (group, field.key)
            if field.options:
                explained(field.options)

    explained(options)


def test_what_is_composed_is_what_the_options_hold():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("train", ["run_dir=run", "+note=hello", "+trainer.profiler=simple"]))
    options = TrainOptions.read({key: value for key, value in config.items() if key != "hydra"})
    assert flat(options.to_dict()) == flat(config)
    assert options.trainer.extra == {"profiler": "simple"} and options.extra["note"] == "hello"


@pytest.mark.parametrize("dataset", sorted(path.stem for path in (CONF / "dataset").glob("*.yaml")))
def test_evaluate_takes_every_data_set(dataset):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("evaluate", ["ckpt=a", "output=c", f"dataset={dataset}", "cam=layercam"])
    options = validated(config, EvaluateOptions)
    assert options.dataset.extra["_target_"].startswith("camexp.data.find_") and options.cam.method == "layercam"


def test_the_composed_config_is_yaml(tmp_path):
    assert OmegaConf.create(composed("predict").to_dict())


def test_what_is_built_gets_plain_lists():
    """Checkpoints hold what an optimizer was given, and are read without executing code from them."""
    built = instantiate({"_target_": "types.SimpleNamespace", "betas": [0.5, 0.9], "more": {"of": [1]}}, "optimizer")
    assert type(built.betas) is list and type(built.more) is dict and type(built.more["of"]) is list


def test_what_is_no_group_at_all_is_said():
    with pytest.raises(UserError, match="^split=abc replaces a whole section|^split=abc is not known"):
        SplitOptions.read("abc", "split")
    with pytest.raises(UserError, match="would split nothing"):
        SplitOptions.read({"val_fraction": None})
    with pytest.raises(UserError, match="would never end"):
        TrainerOptions.read({"max_epochs": None})
