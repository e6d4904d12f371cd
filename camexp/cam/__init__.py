"""Class activation maps as pure functions: maps, upsampling, boxes and colour."""

from camexp.cam.affinity import average_over_alike
from camexp.cam.boxes import box_from_map
from camexp.cam.colour import colour_map, colourise, overlay
from camexp.cam.maps import class_activation_maps, min_max, upsample
from camexp.cam.normalisation import Normalisation

__all__ = [
    "Normalisation",
    "average_over_alike",
    "box_from_map",
    "class_activation_maps",
    "colour_map",
    "colourise",
    "min_max",
    "overlay",
    "upsample",
]
