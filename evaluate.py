"""Measure a CAM network's maps: ``python evaluate.py --help``."""

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="conf", config_name="evaluate")
def main(config: DictConfig) -> None:
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import evaluation

    options = evaluation.read_options(config)
    model, trained = evaluation.load_model(options)
    images = evaluation.find_images(options, model, trained)
    truth = evaluation.find_truth(options, images)
    outcome = evaluation.evaluate(model, images, truth, options)
    evaluation.report(outcome, options)


if __name__ == "__main__":
    cli.run(main)
