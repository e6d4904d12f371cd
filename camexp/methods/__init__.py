"""Ways to a map: CAM itself, PC1, torch-cam's methods, and averages over views of an image. One file a family."""

from camexp.methods.averaged import Averaged
from camexp.methods.build import build_method, build_normalisation, observer, refuse_observer
from camexp.methods.described import describe_maps
from camexp.methods.principal_component import first_principal_components, pc1
from camexp.methods.refined import cam_of_positive_weights, with_affinity, with_clamped_map
from camexp.methods.registry import (
    METHODS,
    ForwardPass,
    Method,
    OfPass,
    forward_pass,
    is_cam,
    of_pass,
    require_layers,
)  # fmt: skip
from camexp.methods.torchcam import TORCHCAM, TorchCAM

__all__ = [
    "METHODS", "TORCHCAM", "Averaged", "ForwardPass", "Method", "OfPass", "TorchCAM", "build_method",
    "build_normalisation", "cam_of_positive_weights", "describe_maps", "first_principal_components", "forward_pass",
    "is_cam", "observer", "of_pass", "pc1", "refuse_observer", "require_layers", "with_affinity", "with_clamped_map",
]  # fmt: skip
