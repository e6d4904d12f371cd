"""From a checkpoint to a folder for other programs."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from camexp.config import ExportOptions
from camexp.config.validation import validated
from camexp.errors import UserError
from camexp.export.card import CARD, Facts, write_card
from camexp.export.check import Compared, check_inputs, compare, require_equal
from camexp.export.figures import read_evaluation, read_run
from camexp.export.graph import CAMGraph
from camexp.export.int8 import Quantised, find_calibration, quantise
from camexp.export.onnx import add_metadata, onnx_runner, require_packages, write_onnx
from camexp.export.output import require_writable, staged
from camexp.export.pictures import write_strip
from camexp.export.safetensors import write_safetensors
from camexp.export.torch_export import torch_export_runner, trace, write_torch_export
from camexp.export.training import training_facts, versions
from camexp.files import display_path, write_json
from camexp.models import CAMClassifier, checkpoint_metadata, load
from camexp.models.checkpoint import read_config
from camexp.models.hub import CONFIG, config_json, is_exported, read_hub_config
from camexp.models.pretrained import is_published_name

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: all of it.
        model: the file that other programs read.
        compared: with the checkpoint, in float32.
        quantised: of ``int8=true``.
    """

    folder: Path
    model: Path
    compared: list[Compared]
    quantised: Quantised | None = None


def read_options(config: DictConfig) -> ExportOptions:
    """The composed configuration, validated; whatever would end the export is told before any work."""
    options = validated(config, ExportOptions)
    require_writable(Path(options.output).expanduser(), options.overwrite)
    if options.to == "onnx":
        require_packages()
    if options.calibration is not None:
        find_calibration(options.calibration, options.calibration_images)
    if options.evaluation is not None:
        read_evaluation(options.evaluation, options.ckpt)
    return options


def load_model(options: ExportOptions) -> CAMClassifier:
    """The network on the CPU, in float32: exact figures to compare with."""
    return load(Path(options.ckpt).expanduser(), "cpu", "32-true")


def write(model: CAMClassifier, options: ExportOptions) -> Exported:
    """Export, compare with the checkpoint, and describe: all of it, or nothing.

    Raises:
        UserError: the network cannot be exported, or what was exported differs from it.
    """
    target = Path(options.output).expanduser()
    training = _training(options.ckpt)
    about = checkpoint_metadata(model, {})
    described = config_json(about, training, versions())
    quantised = None
    with staged(target, options.overwrite) as folder:
        write_json(folder / CONFIG, described)
        if options.to == "safetensors":
            file = write_safetensors(model, folder)
            compared = _require_same(model, folder)
        else:
            file, compared, quantised = _write_graph(model, options, described, folder)
        figures = (
            read_run(options.ckpt) if options.evaluation is None else read_evaluation(options.evaluation, options.ckpt)
        )
        write_card(
            Facts(
                target.absolute().name, options.to, about, training, figures, compared, options.license,
                {"maps": options.maps, "preprocessing": options.preprocessing},
                str(quantised or ""), write_strip(model, options.ckpt, options.images, folder),
            ),
            folder,
        )  # fmt: skip
    return Exported(target, target / file.name, compared, quantised)


def _write_graph(
    model: CAMClassifier, options: ExportOptions, described: Mapping[str, Any], folder: Path
) -> tuple[Path, list[Compared], Quantised | None]:
    graph = CAMGraph(copy.deepcopy(model), options.top, options.preprocessing)
    log.info("tracing …")
    program = trace(graph)
    batches = check_inputs(model.preprocessing.size, options.preprocessing)
    metadata = {**described, "maps": options.maps, "input": "uint8" if options.preprocessing else "normalised float32"}
    if options.to == "torch_export":
        file = write_torch_export(program, folder, metadata)
        compared = compare(torch_export_runner(file, graph.outputs), model, batches, options.preprocessing)
        require_equal(compared, options.to)
        return file, compared, None
    file = write_onnx(program, graph.outputs, folder)
    compared = compare(onnx_runner(file), model, batches, options.preprocessing)
    require_equal(compared, options.to)
    quantised = None
    if options.int8:
        assert options.calibration is not None
        log.info("calibrating …")
        paths = find_calibration(options.calibration, options.calibration_images)
        quantised = quantise(file, model, paths, options.preprocessing)
        metadata["int8"] = str(quantised)
    checked = [{"input": list(one.shape), "logits": one.logits, "maps": one.maps} for one in compared]
    add_metadata(file, {**metadata, "checked": checked, "license": options.license})
    return file, compared, quantised


def _require_same(model: CAMClassifier, folder: Path) -> list[Compared]:
    """The folder, read back by its own reader, says the same to the last bit."""
    again = load(folder, "cpu", "32-true")
    compared = []
    for batch in check_inputs(model.preprocessing.size, preprocessing=False):
        images = torch.from_numpy(batch)
        ours, theirs = model.explain(images, "all"), again.explain(images, "all")
        if not torch.equal(ours.logits, theirs.logits) or not torch.equal(ours.maps, theirs.maps):
            raise UserError(
                f"to=safetensors: what was written differs from the checkpoint on a batch of "
                f"{'×'.join(map(str, batch.shape))}; nothing was written"
            )
        compared.append(Compared(tuple(batch.shape), 0.0, 0.0))
    return compared


def _training(ckpt: str) -> dict[str, Any]:
    path = Path(ckpt).expanduser()
    if is_exported(path) and not is_published_name(ckpt):
        return dict(read_hub_config(path)["training"])
    if is_published_name(ckpt):
        return {"data": "as published", "model": {"trunk": ckpt, "weights": "as published"}}
    return training_facts(read_config(path))


def report(exported: Exported, options: ExportOptions) -> None:
    """What was written, how it compares, and how to use it."""
    log.info("\nchecked against the checkpoint in float32, on the CPU:")
    lines: Sequence[str] = [str(one) for one in exported.compared]
    if options.to == "safetensors":
        lines = [f"{'×'.join(map(str, one.shape))}: the same to the last bit" for one in exported.compared]
    for line in lines:
        log.info(f"  {line}")
    if exported.quantised is not None:
        log.info(f"\n{exported.quantised}")
    size = exported.model.stat().st_size / 1e6
    log.info(f"\n  model        {display_path(exported.model)} ({size:.1f} MB)")
    log.info(f"  card         {display_path(exported.folder / CARD)}")
    if options.to == "safetensors":
        log.info(f"  to load      camexp.load({display_path(exported.folder)!r})")
    if options.license == "unknown":
        log.info("  before you publish it, state the licence of the weights: license=…")
