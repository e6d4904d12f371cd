"""Convolutions in 8-bit integers, for processors that multiply these faster (VNNI): static quantisation of ONNX.

Activations are unsigned with one scale a tensor, weights signed with one scale an output channel; the ranges come from
calibration images. The classes' weights stay in float32, and so do the sums over the last activations that logits and
maps are: a thousandth of the work.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camexp.errors import UserError, reason
from camexp.export.check import Runner
from camexp.export.graph import INPUT
from camexp.export.onnx import onnx_runner
from camexp.images import UnreadableImage, read_image
from camexp.models import CAMClassifier
from camexp.packages import require
from camexp.prediction import find_inputs

# what passes 8-bit values on without a way through float32
OPERATIONS = ["Conv", "MaxPool", "Relu", "Add", "Concat", "AveragePool", "Clip"]


@dataclass(frozen=True)
class Quantised:
    """How an 8-bit graph compares with its own in float32, on the calibration images.

    Attributes:
        images: how many.
        agreement: the share with the same predicted class.
        correlation: of the two graphs' maps of that class, the mean over the images.
    """

    images: int
    agreement: float
    correlation: float

    def __str__(self) -> str:
        return (
            f"8-bit: calibrated on {self.images:,} images; on these it predicts the class of the float32 graph for "
            f"{100 * self.agreement:.1f} %, and the maps correlate by {self.correlation:.4f} on average."
        )


def find_calibration(folder: str | Path, most: int) -> list[Path]:
    """At most ``most`` of the images of a folder, of a seeded shuffle.

    Raises:
        UserError: no such folder, or no images in it.
    """
    paths = find_inputs(str(folder), "calibration")
    order = np.random.default_rng(0).permutation(len(paths))[:most]
    return [paths[index] for index in sorted(order)]


def quantise(file: Path, model: CAMClassifier, paths: Sequence[Path], preprocessing: bool) -> Quantised:
    """Replace an ONNX file by its 8-bit counterpart.

    Args:
        file: ``model.onnx`` in float32, checked already.
        model: whose preprocessing is used.
        paths: the calibration images.
        preprocessing: whether the graph does it itself.

    Raises:
        UserError: no image can be read, or onnxruntime cannot quantise this network.
    """
    onnx, quantisation = (
        require("onnx", "int8=true", "camexp[export]"),
        require("onnxruntime.quantization", "int8=true", "camexp[export]"),
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    reader = _reader(quantisation.CalibrationDataReader, lambda: _inputs(model, paths, preprocessing))
    before = onnx_runner(file)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        prepared, small = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # it speaks through the root logger
        try:
            quant_pre_process(file, prepared, skip_symbolic_shape=True)  # folds batch norms into convolutions
            quantisation.quantize_static(
                prepared, small, reader,
                quant_format=quantisation.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantisation.QuantType.QUInt8,
                weight_type=quantisation.QuantType.QInt8,
                op_types_to_quantize=OPERATIONS,
                nodes_to_exclude=_makers(onnx.load(prepared), ("maps", "logits")),
                calibrate_method=quantisation.CalibrationMethod.MinMax,
            )  # fmt: skip
        except UserError:
            raise
        except Exception as error:  # its passes raise whatever they meet
            raise UserError(f"int8=true: onnxruntime cannot quantise this network ({reason(error)})") from error
        finally:
            logging.getLogger().setLevel(level)
        result = agreement(before, onnx_runner(small), _inputs(model, paths, preprocessing))
        small.replace(file)
    return result


def agreement(exact: Runner, quantised: Runner, inputs: Iterator[NDArray]) -> Quantised:
    """What two graphs make of the same images, one at a time."""
    same, correlations = [], []
    for image in inputs:
        one, other = exact(image), quantised(image)
        label = int(one["logits"][0].argmax())
        same.append(label == int(other["logits"][0].argmax()))
        maps = [_map_of(result, label) for result in (one, other)]
        if all(cam is not None and cam.std() > 0 for cam in maps):
            correlations.append(float(np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1]))  # type: ignore[union-attr]
    return Quantised(len(same), float(np.mean(same)), float(np.mean(correlations)) if correlations else float("nan"))


def _map_of(result: Any, label: int) -> NDArray | None:
    """The map of a class, which a graph of the top classes may lack."""
    if "labels" not in result:
        cam: NDArray = result["maps"][0, label]
        return cam
    [places] = np.nonzero(result["labels"][0] == label)
    return result["maps"][0, places[0]] if len(places) else None


def _makers(model: Any, outputs: Sequence[str]) -> list[str]:
    """The names of the nodes that make these outputs."""
    return [node.name for node in model.graph.node if set(node.output) & set(outputs)]


def _inputs(model: CAMClassifier, paths: Sequence[Path], preprocessing: bool) -> Iterator[NDArray]:
    """Batches of one, as the graph takes them; what cannot be read is left out."""
    read, last = 0, ""
    for path in paths:
        try:
            image = read_image(path)
        except UnreadableImage as error:
            last = f"{path}: {error}"
            continue
        read += 1
        yield np.asarray(image).transpose(2, 0, 1)[None] if preprocessing else model.preprocess(image)[None].numpy()
    if not read:
        raise UserError(f"calibration: none of {len(paths)} images can be read ({last}): give a folder of images")


def _reader(base: Any, batches: Any) -> Any:
    """The inputs as onnxruntime asks for them, which its own class must be the parent of."""

    class Reader(base):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rewind()

        def get_next(self) -> dict[str, NDArray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

        def rewind(self) -> None:
            self.batches = batches()

    return Reader()
