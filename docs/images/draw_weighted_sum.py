"""The picture of the idea: activations, their class weights, and the map. ``python draw_weighted_sum.py CKPT IMAGE``"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

import camexp
from camexp.cam import class_activation_maps, overlay, upsample


def main(ckpt: str, image: str) -> None:
    model = camexp.load(ckpt, "cpu")
    size = model.preprocessing.size
    photo = Image.open(image).convert("RGB").resize(size[::-1])
    with torch.no_grad():
        activations = model.activations(model.preprocess(photo)[None]).float()
    weights = model.head.linear.weight.detach()
    logits = activations.mean((2, 3)) @ weights.T
    label = int(logits.argmax())
    share = weights[label] * activations.mean((0, 2, 3))  # of the logit
    order = share.argsort(descending=True).tolist()
    chosen = [*order[:2], order[-1]]
    cam = upsample(class_activation_maps(activations, weights, torch.tensor([[label]])), size)[0, 0].numpy()

    figure, axes = plt.subplots(1, 5, figsize=(13, 3.2), dpi=130, layout="constrained")
    pixels = np.asarray(photo)
    large = upsample(activations, size)[0]
    top = float(large[chosen].max())
    panels = [(pixels, "image")]
    panels += [
        (large[k].numpy(), f"activation {k},\nweight {float(weights[label, k]):+.2f}".replace("-", "−")) for k in chosen
    ]
    name, logit = model.classes[label], float(logits[0, label])
    panels += [(overlay(pixels, cam), f"all {len(share)}, weighted:\nthe map of {name}, mean {logit:.1f}")]
    for axis, (panel, title) in zip(axes, panels, strict=True):
        axis.imshow(panel, **({"cmap": "gray", "vmin": 0, "vmax": top} if panel.ndim == 2 else {}))
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    figure.savefig(Path(__file__).with_name("weighted-sum.jpg"), pil_kwargs={"quality": 85}, bbox_inches="tight")


if __name__ == "__main__":
    main(*sys.argv[1:])
