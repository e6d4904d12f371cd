"""The code that a model card shows: how to run what was exported."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def _safetensors(graph: Mapping[str, Any], size: Sequence[int] | None) -> str:
    return _python("""
import camexp
from PIL import Image

model = camexp.load("FOLDER")  # this folder, downloaded
x = model.preprocess(Image.open("photo.jpg"))
result = model.explain(x[None], labels="predicted")
print(model.classes[int(result.labels[0, 0])], float(result.probabilities.max()))
result.upsample((480, 640))  # the map at the photograph's size
""") + "\n\nIt needs the package camexp. Nothing in this folder is executed."  # fmt: skip


def _onnx(graph: Mapping[str, Any], size: Sequence[int] | None) -> str:
    return _python(f"""
import json
import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("model.onnx")
about = session.get_modelmeta().custom_metadata_map
classes = json.loads(about["classes"])
{_prepared(graph, size, 'json.loads(about["preprocessing"])')}
{_names(graph)} = session.run(None, {{"image": x}})
print(classes[int(logits[0].argmax())])
""") + _shapes(graph)  # fmt: skip


def _torch_export(graph: Mapping[str, Any], size: Sequence[int] | None) -> str:
    return _python(f"""
import json
import numpy as np
import torch
from PIL import Image

files = {{"camexp.json": ""}}
program = torch.export.load("model.pt2", extra_files=files).module()
about = json.loads(files["camexp.json"])
{_prepared(graph, size, 'about["preprocessing"]')}
{_names(graph)} = program(torch.from_numpy(x))
print(about["classes"][int(logits[0].argmax())])
""") + _shapes(graph) + " Load `.pt2` files only from where you trust: that is torch's own reader."  # fmt: skip


SAMPLES: dict[str, Callable[[Mapping[str, Any], Sequence[int] | None], str]] = {
    "onnx": _onnx, "torch_export": _torch_export, "safetensors": _safetensors,
}  # fmt: skip


def _prepared(graph: Mapping[str, Any], size: Sequence[int] | None, about: str) -> str:
    opened = 'image = Image.open("photo.jpg").convert("RGB")'
    if graph["preprocessing"]:
        return f"{opened}\nx = np.array(image).transpose(2, 0, 1)[None]  # bytes, of any size"
    resized = "" if size is None else f".resize(({size[1]}, {size[0]}), Image.Resampling.BILINEAR)"
    return (
        f"{opened}{resized}\nscale = {about}\n"
        'x = (np.asarray(image, np.float32) / 255 - scale["mean"]) / scale["std"]\n'
        "x = x.transpose(2, 0, 1)[None].astype(np.float32)"
    )


def _names(graph: Mapping[str, Any]) -> str:
    return "logits, maps" if graph["maps"] == "all" else "logits, maps, labels"


def _shapes(graph: Mapping[str, Any]) -> str:
    taken = (
        "`image` (B, 3, H, W) uint8, RGB, upright: resized as Pillow does (bilinear, antialiased) and normalised in "
        "the graph"
        if graph["preprocessing"]
        else "`image` (B, 3, H, W) float32, normalised, H and W at least 64"
    )
    maps = (
        "of every class"
        if graph["maps"] == "all"
        else "of the K classes with the highest logits, which are `labels` (B, K)"
    )
    return f"\n\nIn: {taken}. Out: `logits` (B, C), `maps` (B, K, h, w), raw, {maps}. B, H and W are free."


def _python(code: str) -> str:
    return f"```python\n{code.strip()}\n```"
