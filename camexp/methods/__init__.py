"""Ways to a map: CAM itself, PC1, torch-cam's methods, and averages over views of an image. One file a family."""

from camexp.methods.averaged import Averaged
from camexp.methods.build import build_method
from camexp.methods.principal_component import first_principal_components, pc1
from camexp.methods.registry import METHODS, Method, is_cam, of_activations
from camexp.methods.torchcam import TORCHCAM, TorchCAM

__all__ = [
    "METHODS", "TORCHCAM", "Averaged", "Method", "TorchCAM", "build_method", "first_principal_components", "is_cam",
    "of_activations", "pc1",
]  # fmt: skip
