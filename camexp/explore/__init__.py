"""The viewer as a page of one's own: what ``explore.py`` does."""

from camexp.explore.listening import listen
from camexp.explore.run import find_gallery, load_networks, read_options, serve

__all__ = ["find_gallery", "listen", "load_networks", "read_options", "serve"]
