"""The page: one HTML document, which may ask this server and nobody else."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from camexp import __version__
from camexp.config import ExploreOptions
from camexp.explore.gallery import Gallery
from camexp.explore.networks import Network
from camexp.explore.settings import Settings
from camexp.methods import METHODS, TORCHCAM, build_normalisation, is_cam, observer
from camexp.models import CAMClassifier
from camexp.viewer import VIEWER, PageFile, meta

TITLE = "Where the network looks"
SCRIPTS = (*VIEWER, "server", "sources", "explore")
POLICY = "; connect-src 'self'; media-src blob: mediastream:"


def described(network: Network, options: ExploreOptions) -> dict[str, Any]:
    """A network for the page: its name, its version, its classes."""
    loaded = network.loaded
    size = loaded.model.preprocessing.size
    return {
        "name": loaded.name, "version": loaded.version, "step": loaded.step, "follows": network.follows,
        "size": None if size is None else list(size),
        "meta": meta(
            loaded.model.classes, False, colormap=options.colormap, opacity=options.alpha,
            normalisation=build_normalisation(options.cam),
        ),
    }  # fmt: skip


def identity(model: CAMClassifier, settings: Settings) -> bool:
    """Whether a map's mean is its class's logit."""
    return is_cam(settings.build()) and model.head.mean_is_logit


def page_html(networks: Sequence[Network], gallery: Gallery, begin: Settings, options: ExploreOptions) -> str:
    """The page, as the networks are now."""
    limits = options.limits
    facts = [
        *(("network", one.loaded.name) for one in networks),
        ("precision", networks[0].loaded.model.precision),
        ("limits", f"{limits.images} images at once, of {limits.megabytes:g} MB, {limits.megapixels:g} megapixels"),
        ("camexp", __version__),
    ]  # fmt: skip
    page = {
        "title": TITLE, "facts": facts,
        "networks": [described(one, options) for one in networks],
        "images": gallery.names, "folder": gallery.root.name if gallery.names else None,
        "methods": methods(begin), "settings": begin.to_query(),
        "limits": {"megabytes": limits.megabytes, "images": limits.images},
    }  # fmt: skip
    text = io.StringIO()
    file = PageFile(text, SCRIPTS)
    file.begin(TITLE, POLICY)
    file.end(page)
    return text.getvalue()


def methods(begin: Settings) -> list[str]:
    """Those that can be chosen here: without torch-cam, the ones that need none."""
    there = find_spec("torchcam")
    names = [name for name in METHODS if there or name not in TORCHCAM]
    names = [name for name in names if not observer(METHODS[name](name, None))]  # images come one by one here
    return names if begin.method in names else [begin.method, *names]
