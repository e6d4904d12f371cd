"""Pages to look at maps: a viewer in plain HTML, CSS and JavaScript, and what writes its data."""

from camexp.viewer.items import item, meta, pack_maps, photograph, unpack_maps
from camexp.viewer.page import GALLERY, VIEWER, json_text, page_parts, write_block, write_page

__all__ = [
    "GALLERY",
    "VIEWER",
    "item",
    "json_text",
    "meta",
    "pack_maps",
    "page_parts",
    "photograph",
    "unpack_maps",
    "write_block",
    "write_page",
]
