"""Where configurations are found: in ``conf/`` of the working folder, in the package, and in plugins, in this order."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from camexp import plugins
from camexp.config.own import own_folder


class OwnConfigs(SearchPathPlugin):
    """The user's own folder first, what plugins bring last."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if (own := own_folder()) is not None:
            search_path.prepend(provider="own", path=f"file://{own}", anchor="main")
        search_path.append(provider="plugins", path=f"{PluginConfigs.scheme()}://")


class PluginConfigs(ConfigSource):
    """``model=NAME`` and ``dataset=NAME`` for what the entry points of installed packages bring; none is imported."""

    @staticmethod
    def scheme() -> str:
        return "camexp-plugins"

    def available(self) -> bool:
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        if name not in _names(group):
            raise ConfigLoadError(f"Config not found : {config_path}")
        content = model_config(name) if group == "model" else dataset_config(name)
        header: dict[str, str | None] = {"package": None}  # the group's
        return ConfigResult(provider=self.provider, path=self.scheme(), config=OmegaConf.create(content), header=header)

    def is_group(self, config_path: str) -> bool:
        return bool(_names(config_path.rstrip("/")))

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return name in _names(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return [] if results_filter is ObjectType.GROUP else _names(config_path.rstrip("/"))


def model_config(name: str) -> dict[str, Any]:
    """``model=NAME`` of a plugin's trunk: trained from scratch, as long as no weights are given."""
    return {"defaults": ["vgg19"], "trunk": name, "weights": None, "freeze": "none"}


def dataset_config(name: str) -> dict[str, Any]:
    """``dataset=NAME`` of a plugin's data set."""
    common = {"root": None, "classes": None, "max_skipped": 0.05, "check": True}
    return {"_target_": "camexp.data.find_plugin", "plugin": name, **common}


def _names(group: str) -> list[str]:
    entered = {"model": plugins.TRUNKS, "dataset": plugins.DATASETS}.get(group)
    return _plugin_names(entered) if entered else []


@lru_cache
def _plugin_names(group: str) -> list[str]:
    return plugins.plugin_names(group)


def register_sources() -> None:
    """Make them known to Hydra."""
    from hydra.core.plugins import Plugins

    for one in (OwnConfigs, PluginConfigs):
        Plugins.instance().register(one)
