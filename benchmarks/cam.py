"""Maps: camexp beside torch-cam, pytorch-grad-cam and a plain forward pass. ``python benchmarks/cam.py``

Every way gets the same batch and the same VGG-19 with the same weights and returns maps at the input's size.
pytorch-grad-cam needs a forward and a backward pass a class; for all classes it is not run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timing import arguments, as_published, machine, publish, time_in_turn
from torch import Tensor, nn

from camexp.cam.maps import min_max
from camexp.models import CAMClassifier, Preprocessing
from camexp.precision import resolve_precision


def plain_network(model: CAMClassifier) -> nn.Sequential:
    """The same weights as an ordinary network, in which hooks find their layers."""
    layers = nn.Sequential()
    layers.add_module("features", model.trunk.features)
    layers.add_module("conv_cam", model.head.conv_cam)
    layers.add_module("activation", nn.ReLU())
    layers.add_module("pool", nn.AdaptiveAvgPool2d(1))
    layers.add_module("flatten", nn.Flatten())
    layers.add_module("linear", model.head.linear)
    return as_published(layers).eval()


def build(classes: int, device: str, precision: str | None) -> CAMClassifier:
    """The recipe's network with weights from a seed; ``precision=None`` leaves the memory layout as it comes."""
    torch.manual_seed(0)
    head = {"channels": 1024, "init_std": 0.02}
    model = CAMClassifier("vgg19", [str(c) for c in range(classes)], Preprocessing((224, 224)), head=head)
    model = model.eval().requires_grad_(precision is None).to(device)
    if precision is not None:
        model.optimise_for(device, precision)
    return model


def ours(model: CAMClassifier, images: Tensor, labels: str, out: Tensor | None = None) -> Tensor:
    return model.explain(images, labels).upsample(images.shape[-2:], out)


def torch_cam(extractor: Any, network: nn.Sequential, images: Tensor, top: int) -> list[Tensor]:
    """As its README has it: one pass, then a call for each class."""
    with torch.no_grad():
        scores = network(images)
        ranked = scores.argsort(1, descending=True)
        maps = [extractor(ranked[:, place].tolist(), scores)[0][:, None] for place in range(top)]
        return [F.interpolate(one, images.shape[-2:], mode="bilinear") for one in maps]


def grad_cam(extractor: Any, images: Tensor, ranked: Tensor, top: int) -> list[np.ndarray]:
    """As its README has it: one call for each class."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    return [
        extractor(images, [ClassifierOutputTarget(label) for label in ranked[:, place].tolist()])
        for place in range(top)
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--classes", type=int, default=257)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    from pytorch_grad_cam import GradCAM
    from torchcam.methods import CAM

    images = torch.rand(asked.batch, 3, 224, 224).to(asked.device)
    auto, single = (build(asked.classes, asked.device, precision) for precision in ("auto", "32-true"))
    reference = build(asked.classes, asked.device, None)
    network = plain_network(reference)
    with torch.no_grad():
        ranked = network(images).argsort(1, descending=True)
    # each library hooks a network of its own, so that no hook slows another's pass
    theirs = plain_network(build(asked.classes, asked.device, None))
    torchcams = CAM(theirs, target_layer="activation", fc_layer="linear")
    gradients = plain_network(build(asked.classes, asked.device, None))
    gradcams = GradCAM(gradients, [gradients.activation])

    @torch.no_grad()
    def forward() -> Tensor:
        return network(images)

    every = asked.classes
    place = images.new_empty(len(images), every, *images.shape[-2:])  # as in a loop over batches
    seconds = time_in_turn(
        {
            "plain forward pass, float32": forward,
            **{f"camexp auto, {k}": lambda k=k: ours(auto, images, k) for k in ("top1", "top5", "all")},
            "camexp auto, all, in one place": lambda: ours(auto, images, "all", place),
            **{f"camexp float32, {k}": lambda k=k: ours(single, images, k) for k in ("top1", "top5", "all")},
            "camexp float32, all, in one place": lambda: ours(single, images, "all", place),
            "torch-cam, top1": lambda: torch_cam(torchcams, theirs, images, 1),
            "torch-cam, top5": lambda: torch_cam(torchcams, theirs, images, 5),
            "torch-cam, all": lambda: torch_cam(torchcams, theirs, images, every),
            "grad-cam, top1": lambda: grad_cam(gradcams, images, ranked, 1),
            "grad-cam, top5": lambda: grad_cam(gradcams, images, ranked, 5),
        },
        asked.repeats,
        asked.device,
    )

    maps = single.explain(images, ranked[:, :5].tolist()).maps
    raw = CAM(network, target_layer="activation", fc_layer="linear")
    scores = network(images)
    same = torch.stack([raw(ranked[:, k].tolist(), scores, normalized=False)[0] for k in range(5)], 1)
    positive = F.interpolate(min_max(maps.clamp(min=0)), (224, 224), mode="bilinear").cpu().numpy()
    of_gradients = np.stack(grad_cam(gradcams, images, ranked, 5), 1)
    agreement = {
        "torch-cam (raw maps)": float((maps - same).abs().max() / same.abs().max()),
        "grad-cam (positive part, min-max normalised)": float(np.abs(positive - of_gradients).max()),
    }

    plain = seconds["plain forward pass, float32"]
    print(f"{'':32} {'ms an image':>12} {'of plain forward':>17}")
    for name, value in seconds.items():
        print(f"{name:32} {value / asked.batch * 1e3:12.1f} {value / plain:17.2f}")
    ratios = {}
    for kind in ("auto", "float32"):
        mine = {k: seconds[f"camexp {kind}, {k}"] for k in ("top1", "top5", "all", "all, in one place")}
        ratios[kind] = {
            "top1 of torch-cam (target 0.40)": mine["top1"] / seconds["torch-cam, top1"],
            "top1 of grad-cam (target 0.13)": mine["top1"] / seconds["grad-cam, top1"],
            "top5 of grad-cam (target 0.028)": mine["top5"] / seconds["grad-cam, top5"],
            "all of plain forward (target 0.50)": mine["all"] / plain,
            "all of plain forward, in one place": mine["all, in one place"] / plain,
            "all of torch-cam": mine["all"] / seconds["torch-cam, all"],
        }
        for name, value in ratios[kind].items():
            print(f"camexp {kind}: {name}: {value:.3f}")
    print("largest relative difference in float32:", {name: f"{value:.1e}" for name, value in agreement.items()})
    publish(
        {
            "benchmark": "cam",
            **machine(asked.device, "torchcam", "grad-cam"),
            "precision": resolve_precision("auto", asked.device),
            "batch": asked.batch,
            "classes": asked.classes,
            "seconds": seconds,
            "ratios": ratios,
            "agreement": agreement,
        },
        asked.json,
    )


if __name__ == "__main__":
    main()
