"""Measure a CAM network's maps: ``camexp evaluate --help``."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="pkg://camexp.conf", config_name="evaluate")
def recipe(config: DictConfig) -> None:
    from camexp import launching

    if launching.in_multirun() and config.shards > 1:
        return launching.run_shard()
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import evaluation, prediction

    options = evaluation.read_options(config)
    shards, gpus = prediction.processes(options)
    if shards > 1:
        launching.launch_shards(options.output, shards, gpus)
        return evaluation.gather(Path(options.output))
    model, trained = evaluation.load_model(options)
    images = evaluation.find_images(options, model, trained)
    truth = evaluation.find_truth(options, images)
    outcome = evaluation.evaluate(model, images, truth, options)
    evaluation.report(outcome, options)


def main(arguments: Sequence[str] | None = None) -> None:
    cli.run(recipe, "evaluate", arguments)
