"""Pages to look at maps: a viewer in plain HTML, CSS and JavaScript, and what writes its data."""

from camexp.viewer.budget import all_or_top, page_photograph, photograph
from camexp.viewer.items import explained, is_finite, item, meta, pack_maps, pack_mask, unpack_maps
from camexp.viewer.notebook import ViewerPage, show
from camexp.viewer.page import GALLERY, VIEWER, PageFile, json_text, page_file, write_page
from camexp.viewer.report import ImageReport

__all__ = [
    "GALLERY",
    "VIEWER",
    "ImageReport",
    "PageFile",
    "ViewerPage",
    "all_or_top",
    "explained",
    "is_finite",
    "item",
    "json_text",
    "meta",
    "pack_maps",
    "pack_mask",
    "page_file",
    "page_photograph",
    "photograph",
    "show",
    "unpack_maps",
    "write_page",
]
