"""Networks whose published classifier gives maps without any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camexp.discovery import import_modules
from camexp.errors import UserError, reason
from camexp.models.classifier import CAMClassifier
from camexp.models.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from camexp.models.stages import TOKENS
from camexp.models.trunks import LIBRARIES, build_trunk


def is_published_name(path: Any) -> bool:
    """Whether a ``ckpt`` is the name of a published network, as ``timm/resnet50``, and no file."""
    library, slash, name = str(path).partition("/")
    if not (slash and name) or Path(str(path)).exists():
        return False
    if library not in LIBRARIES:
        import_modules("camexp.models")
    return library in LIBRARIES


def pretrained(name: str, weights: str | Path | None = None) -> CAMClassifier:
    """A network of torchvision or timm with the classifier it was published with, for its own classes.

    A network that ends in global average pooling and one linear layer *is* a CAM network (Zhou et al., CVPR 2016,
    section 2). Whether it does is tried: its logits and ours must be the same for an image of noise.

    Args:
        name: ``torchvision/resnet50``, ``timm/resnet50`` ….
        weights: a state dict (``.safetensors``, ``.pth``); ``None`` downloads the published one.

    Raises:
        UserError: no such network, weights that cannot be had or do not fit, or another kind of classifier.
    """
    trunk = build_trunk(name)
    network, size = _network(name, weights)
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or linear[-1].in_features != trunk.out_channels:
        raise UserError(f"ckpt={name} does not end in pooling and one linear layer: train a head on it with model=…")
    mean, std = trunk.normalisation or (IMAGENET_MEAN, IMAGENET_STD)
    model = CAMClassifier(
        name, class_names(linear[-1].out_features), Preprocessing(size, mean, std),
        head={"kind": "gap", "bias": linear[-1].bias is not None},
    ).eval()  # fmt: skip
    state = network.state_dict()
    model.trunk.features.load_state_dict({key: state[key] for key in model.trunk.features.state_dict()})
    model.head.linear.load_state_dict(linear[-1].state_dict())
    # a vision transformer as published takes its own size and no other
    shape = size if hasattr(network, TOKENS) else (96, 128)
    noise = torch.randn(1, 3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs, ours = network.eval()(noise), model(noise)
    if theirs.shape != ours.shape or (theirs - ours).abs().max() > 1e-3 * theirs.abs().max().clamp(min=1e-3):
        raise UserError(
            f"ckpt={name} does more between its features and its classes than pooling and one linear layer, "
            "so its classifier gives no class activation maps: train a head on it with model=…"
        )
    return model


def class_names(count: int) -> list[str]:
    """ImageNet's names for a thousand classes, numbers for any other count; each name once."""
    if count != 1000:
        return [str(label) for label in range(count)]
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    seen: dict[str, int] = {}
    names = []
    for name in _IMAGENET_CATEGORIES:  # two cranes and two maillots
        seen[name] = seen.get(name, 0) + 1
        names.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return names


def _network(name: str, weights: str | Path | None) -> tuple[nn.Module, tuple[int, int]]:
    """The whole published network with its weights, and its input size."""
    library, _, inner = name.partition("/")
    try:
        if library == "timm":
            import timm

            network: Any = timm.create_model(inner, pretrained=weights is None)
            height, width = network.pretrained_cfg["input_size"][1:]
            size = int(height), int(width)
        else:
            import torchvision

            network, size = torchvision.models.get_model(inner, weights=None), (224, 224)
            if weights is None:
                published = torchvision.models.get_model_weights(inner).DEFAULT  # type: ignore[attr-defined]
                network.load_state_dict(published.get_state_dict(check_hash=True, weights_only=True))
        if weights is not None:
            network.load_state_dict(_read(Path(weights)))
    except UserError:
        raise
    except Exception as error:  # hubs and loaders raise dozens of kinds: no network, no file, shapes that differ
        raise UserError(
            f"ckpt={name}: its weights could not be had ({reason(error)}): without network, put the file into the "
            "library's own cache, or load it in Python with camexp.models.pretrained(name, weights=PATH)"
        ) from error
    return network, size


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
