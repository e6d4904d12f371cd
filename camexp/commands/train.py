"""Train a CAM network and watch its maps sharpen: ``camexp train --help``."""

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="pkg://camexp.conf", config_name="train")
def recipe(config: DictConfig) -> float:
    # torch takes seconds to import: --help, --cfg and a sweep's own process must not wait for it
    from camexp import launching

    if launching.in_multirun():
        return launching.run_job()
    with cli.heavy_imports():
        from camexp import data, models, training

    options = training.read_options(config)
    devices = training.select_devices(options.trainer.gpus, options.trainer.cpu_processes)
    if processes := launching.processes_to_start(devices, options.trainer.num_nodes):
        return launching.launch_ddp(options.run_dir, processes)
    resumed = training.find_resume_point(options)
    if resumed is not None and resumed.accuracy is not None:
        return resumed.accuracy
    training.seed_everything(options.seed, workers=True, verbose=False)

    images = data.build_images(options.dataset, options.run_dir)
    split = data.split_images(images, options.split, options.seed)
    if options.command == "classes":
        training.print_classes(images, split)
        return 0.0

    size = options.transform.input_size
    classifier = models.build_classifier(options.model, images.classes, size)
    classifier.optimise_for(training.device_type(devices), options.precision, options.compile)
    regulariser = training.build_regulariser(options, classifier)
    datamodule = training.build_datamodule(options, images, split, classifier, devices, regulariser)
    module = training.build_module(options, classifier, datamodule, regulariser)
    trainer = training.build_trainer(options, devices, datamodule, classifier, resumed)

    training.fit(trainer, module, datamodule, resumed)
    return training.report(trainer, datamodule, options)


def main(arguments: Sequence[str] | None = None) -> None:
    cli.run(recipe, "train", arguments)
