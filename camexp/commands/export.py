"""Write a trained network for other programs: ``camexp export --help``."""

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="pkg://camexp.conf", config_name="export")
def recipe(config: DictConfig) -> None:
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import export

    options = export.read_options(config)
    model = export.load_model(options)
    exported = export.write(model, options)
    export.report(exported, options)


def main(arguments: Sequence[str] | None = None) -> None:
    cli.run(recipe, "export", arguments)
