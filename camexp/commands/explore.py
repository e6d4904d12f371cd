"""Look at the maps of any image in a page of one's own: ``camexp explore --help``."""

from collections.abc import Sequence

import hydra
from omegaconf import DictConfig

from camexp import cli


@hydra.main(version_base="1.3", config_path="pkg://camexp.conf", config_name="explore")
def recipe(config: DictConfig) -> None:
    with cli.heavy_imports():  # torch takes seconds: --help and --cfg must not wait for it
        from camexp import explore

    options = explore.read_options(config)
    gallery = explore.find_gallery(options)
    with explore.listen(options) as listening:
        networks = explore.load_networks(options)
        explore.serve(networks, gallery, listening, options)


def main(arguments: Sequence[str] | None = None) -> None:
    cli.run(recipe, "explore", arguments)
