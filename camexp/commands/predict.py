"""See where a CAM network looks: ``camexp predict --help``."""

from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="pkg://camexp.conf", config_name="predict")
def recipe(config: DictConfig) -> None:
    from camexp import launching

    if launching.in_multirun() and config.shards > 1:
        return launching.run_shard()
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import prediction

    options = prediction.read_options(config)
    shards, gpus = prediction.processes(options)
    if shards > 1:
        launching.launch_shards(options.output, shards, gpus)
        return prediction.gather(Path(options.output))
    images = prediction.find_images(options)
    model = prediction.load_model(options)
    outcome = prediction.predict(model, images, options)
    prediction.report(outcome, options)


def main(arguments: Sequence[str] | None = None) -> None:
    cli.run(recipe, "predict", arguments)
