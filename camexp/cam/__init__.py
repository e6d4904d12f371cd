"""Class activation maps as pure functions: maps, upsampling, boxes and colour."""

from camexp.cam.boxes import box_from_map
from camexp.cam.colour import colour_map, colourise, overlay
from camexp.cam.maps import class_activation_maps, min_max, upsample

__all__ = [
    "box_from_map",
    "class_activation_maps",
    "colour_map",
    "colourise",
    "min_max",
    "overlay",
    "upsample",
]
