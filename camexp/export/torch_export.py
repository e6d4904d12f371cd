"""A graph by ``torch.export``: the way to ONNX, and a file of its own."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch.export import Dim, ExportedProgram

from camexp.errors import UserError, reason
from camexp.export.check import Runner
from camexp.export.graph import CAMGraph

MODEL, METADATA = "model.pt2", "camexp.json"  # the second lies inside the first


def trace(graph: CAMGraph) -> ExportedProgram:
    """The graph with the batch, the height and the width left free.

    Raises:
        UserError: a network that does what no graph can hold.
    """
    # as no other size of the network: an axis that equals another may be taken for the same
    example = torch.zeros(2, 3, 160, 224) if graph.takes_normalised else torch.zeros(2, 3, 150, 210, dtype=torch.uint8)
    free = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}  # type: ignore[attr-defined]
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(graph, (example,), dynamic_shapes=(free,))
    except Exception as error:  # torch raises dozens of kinds
        raise UserError(f"to: this network cannot be traced ({reason(error)}): take to=safetensors") from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine, in what is to be published
    return program


def write_torch_export(program: ExportedProgram, folder: Path, metadata: Mapping[str, Any]) -> Path:
    """``model.pt2``; ``torch.export.load(file, extra_files={"camexp.json": ""})`` gives graph and metadata."""
    path = folder / MODEL
    try:
        with quiet():
            torch.export.save(program, path, extra_files={METADATA: json.dumps(metadata, ensure_ascii=False)})
    except Exception as error:  # what its own writer lacks, of kinds of its own
        raise UserError(f"to=torch_export: this graph cannot be written ({reason(error)}): take to=onnx") from error
    return path


def torch_export_runner(path: Path, outputs: list[str]) -> Runner:
    """The file, read again, as something that runs."""
    with quiet():
        module = torch.export.load(path).module()

    def run(images: NDArray) -> dict[str, NDArray]:
        with torch.no_grad():
            return {name: one.numpy() for name, one in zip(outputs, module(torch.from_numpy(images)), strict=True)}

    return run


@contextmanager
def quiet() -> Iterator[None]:
    """torch's exporters tell of their own passes; what matters here is said by the check."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir", "root")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, levels, strict=True):
                one.setLevel(level)
