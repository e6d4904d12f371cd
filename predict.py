"""See where a CAM network looks: ``python predict.py --help``."""

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="conf", config_name="predict")
def main(config: DictConfig) -> None:
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import prediction

    options = prediction.read_options(config)
    paths = prediction.find_inputs(options.input)
    model = prediction.load_model(options)
    outcome = prediction.predict(model, paths, options)
    prediction.report(outcome, options)


if __name__ == "__main__":
    cli.run(main)
