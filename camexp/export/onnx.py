"""A graph as ONNX, with what a program needs to know beside it as metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from torch.export import ExportedProgram

from camexp.errors import UserError, reason
from camexp.export.check import Runner
from camexp.export.graph import INPUT
from camexp.export.torch_export import quiet
from camexp.packages import require

MODEL = "model.onnx"
LARGEST = (1 << 31) - 1  # bytes of one file: protobuf's limit
AXES = {
    INPUT: ("batch", None, "height", "width"),
    "logits": ("batch", None),
    "maps": ("batch", None, "map_height", "map_width"),
    "labels": ("batch", None),
}


def require_packages() -> None:
    """
    Raises:
        UserError: one of the ``export`` extra is not installed; told before any work.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        require(name, "to=onnx", "camexp[export]")


def write_onnx(program: ExportedProgram, outputs: list[str], folder: Path) -> Path:
    """``model.onnx``, one file with its weights inside.

    Raises:
        UserError: an operation that ONNX lacks, or weights beyond 2 GB.
    """
    import torch

    onnx = require("onnx", "to=onnx", "camexp[export]")
    try:
        with quiet():
            exported = torch.onnx.export(
                program, (), dynamo=True, input_names=[INPUT], output_names=outputs, verbose=False
            )
            assert exported is not None
            model = exported.model_proto
    except Exception as error:  # the exporter raises dozens of kinds, the one that says why innermost
        while error.__cause__ is not None and isinstance(error.__cause__, Exception):
            error = error.__cause__
        raise UserError(
            f"to=onnx: this network cannot be written as ONNX ({reason(error)}): take to=torch_export"
        ) from error
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in zip(value.type.tensor_type.shape.dim, AXES[value.name], strict=True):
            if name is not None:
                axis.dim_param = name  # else one as (s73 - 1)//32 + 1
    for value in [one for one in model.graph.value_info if _is_empty(one)]:
        model.graph.value_info.remove(value)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.initializer, *model.functions):
        del part.metadata_props[:]  # where in Python each came from
    if model.ByteSize() > LARGEST:
        raise UserError(
            "to=onnx: the network is larger than 2 GB, which one file of ONNX cannot hold: take to=torch_export"
        )
    path = folder / MODEL
    onnx.save(model, path)
    return path


def _is_empty(value: Any) -> bool:
    """Whether a tensor between two nodes is noted to have no elements.

    torch 2.6 notes it of what batch norm could give beside its result, and ``onnx.checker`` refuses a file whose notes
    are not what it infers.
    """
    return any(axis.HasField("dim_value") and axis.dim_value == 0 for axis in value.type.tensor_type.shape.dim)


def add_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Into the file's ``metadata_props``: texts as they are, all else as JSON."""
    onnx = require("onnx", "to=onnx", "camexp[export]")
    model = onnx.load(path)
    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in metadata.items()
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, path)


def onnx_runner(path: Path) -> Runner:
    """The file in onnxruntime, on the CPU."""
    onnxruntime = require("onnxruntime", "to=onnx", "camexp[export]")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # of its own kinds
        raise UserError(
            f"to=onnx: onnxruntime {onnxruntime.__version__} does not take this graph ({reason(error)}): "
            "install a newer one, or take to=torch_export"
        ) from error
    names = [one.name for one in session.get_outputs()]

    def run(images: NDArray) -> dict[str, NDArray]:
        return dict(zip(names, session.run(names, {INPUT: images}), strict=True))

    return run
