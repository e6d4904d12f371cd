"""What else could make the preset's maps follow outlines: affinities of other layers and of several, an edge-aware
filter at the image's resolution, and a cut of the image itself.

``python benchmarks/outlines.py --ckpt RUN/checkpoints/last.ckpt --data FOLDER --boxes boxes.csv [--half 0|1]``, of a
VGG-16 trained with ``experiment=localise``; needs kornia (the guided filter of He et al., TPAMI 2013) and OpenCV
(GrabCut, Rother et al., SIGGRAPH 2004: a Markov random field of the pixels' colours). Photographs and their copies are
those of ``whole_object.py``; the threshold is one for all images of a column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import guided_blur
from PIL import Image
from torch import Tensor
from whole_object import arguments, views

from camexp import load
from camexp.cam.affinity import average_over_alike
from camexp.cam.maps import min_max, upsample
from camexp.evaluation.components import components
from camexp.evaluation.max_box_acc import MaxBoxAcc, best_ious
from camexp.methods.principal_component import first_principal_components
from camexp.models import CAMClassifier

SIZE = 224, 224
PRESET = "pc1, affinity conv4_3 (experiment=localise)"


def side_by_side(*layers: Tensor) -> Tensor:
    """Features of several layers at the first one's resolution, each of length 1 at each place once its mean is off."""
    size = (layers[0].shape[2], layers[0].shape[3])
    wide = [F.interpolate(one.float(), size, mode="bilinear", align_corners=False) for one in layers]
    return torch.cat([F.normalize(one - one.mean((2, 3), keepdim=True), dim=1) for one in wide], 1)


def cut(cam: Tensor, photo: np.ndarray) -> Tensor:
    """GrabCut's object, which begins with the map's highest tenth as surely inside and its lowest as surely outside."""
    low, middle, high = np.quantile(cam.numpy(), (0.1, 0.5, 0.9))
    mask = np.where(cam.numpy() > middle, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    mask[cam.numpy() >= high], mask[cam.numpy() <= low] = cv2.GC_FGD, cv2.GC_BGD
    cv2.grabCut(photo, mask, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    return torch.from_numpy(np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32))


def ways(model: CAMClassifier, photo: Image.Image, label: str) -> Iterator[tuple[str, Tensor]]:
    """Each map of a photograph, ``(224, 224)`` in [0, 1]."""
    features, third, fourth, fifth = model.trunk_outputs(
        model.preprocess(photo)[None], layers=("conv3_3", "conv4_3", "conv5_3")
    )
    activations = model.head_activations(features)
    cam = model.explain_activations(activations, [label]).maps
    pc1 = first_principal_components(activations, cam)

    def shown(maps: Tensor) -> Tensor:
        return min_max(upsample(maps, SIZE))[0, 0]

    preset = shown(average_over_alike(pc1, fourth))
    yield "cam", shown(cam)
    yield "pc1", shown(pc1)
    yield PRESET, preset
    yield "pc1, affinity conv5_3", shown(average_over_alike(pc1, fifth))
    yield "pc1, affinity conv3_3", shown(average_over_alike(pc1, third))
    yield "pc1, affinity conv4_3 and conv5_3", shown(average_over_alike(pc1, side_by_side(fourth, fifth)))
    yield "pc1, affinity conv3_3 and conv4_3", shown(average_over_alike(pc1, side_by_side(third, fourth)))
    yield "pc1, affinity conv5_3, then conv4_3", shown(average_over_alike(average_over_alike(pc1, fifth), fourth))
    finer = first_principal_components(fourth, upsample(cam, (fourth.shape[2], fourth.shape[3])))
    yield "mean of the preset's and conv4_3's own pc1", min_max(preset + shown(finer))
    yield "mean of cam's and pc1's, affinity conv4_3", min_max(preset + shown(average_over_alike(cam, fourth)))
    small = np.asarray(photo.convert("RGB").resize(SIZE[::-1], Image.Resampling.BILINEAR))
    guide = torch.from_numpy(small.copy()).permute(2, 0, 1)[None].float() / 255
    for radius, eps in ((4, 1e-3), (8, 1e-3), (16, 1e-2)):
        smooth = guided_blur(guide, preset[None, None], 2 * radius + 1, eps, separable=True)[0, 0]
        yield f"preset, guided filter, radius {radius}, eps {eps}", min_max(smooth)
    yield "preset, mean with GrabCut's object", min_max(preset + cut(preset, small[..., ::-1].copy()))


@torch.inference_mode()
def main() -> None:
    asked = arguments(__doc__)
    model = load(asked.ckpt, "cpu")
    found: dict[str, tuple[MaxBoxAcc, MaxBoxAcc]] = {}
    new: Callable[[], MaxBoxAcc] = lambda: MaxBoxAcc((0.3, 0.5, 0.7))  # noqa: E731
    for path, photo, box in views(asked.data, asked.boxes, asked.half):
        scale = np.array([SIZE[1] / photo.width, SIZE[0] / photo.height] * 2)
        truth = (np.array(box) * scale).round()[None]
        for name, cam in ways(model, photo, Path(path).parts[0]):
            best = torch.from_numpy(best_ious(components(cam.numpy()), truth))[None]
            plain, all_sizes = found.setdefault(name, (new(), new()))
            all_sizes.update(best)
            if path.endswith("_plain.png"):
                plain.update(best)
    print("| map | photographs | with their copies |\n|---|---|---|")
    for name, both in found.items():
        print(f"| {name} | {' | '.join(f'{100 * float(one.compute()):.1f}' for one in both)} |", flush=True)


if __name__ == "__main__":
    main()
