"""Sphinx: ``pip install -e ".[docs]"``, then ``sphinx-build -W -n docs build/site``. Needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import camexp

project = "camexp"
author = copyright = "The camexp authors"
release = version = camexp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "option_pages",
    "rendering",
]
exclude_patterns = ["_ext", "_static"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"LabelsLike": "LabelsLike", "LabelLike": "LabelLike"}
python_display_short_literal_types = True
napoleon_use_ivar = True
# Of other libraries' names there is nothing to link to without their inventories, which would be fetched.
# The options' classes are pages of their own; how components are found is no part of the interface.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!camexp\.).*"),
    (r"py:.*", r"camexp\.(config|evaluation\.(basins|component_tree|components\.V)).*"),
    (r"py:.*", r"camexp\.(reporting\.comparison|viewer\.notebook\.Explained).*"),
]

html_theme = "furo"
html_title = "camexp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
html_math_renderer = "mathml"
