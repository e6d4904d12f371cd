"""The shards of a prediction as one."""

from __future__ import annotations

import logging
from pathlib import Path

from camexp.config import PredictOptions
from camexp.errors import UserError
from camexp.files import display_path
from camexp.launching.shards import Shard
from camexp.prediction.manifest import Manifest, missing_shards
from camexp.prediction.outputs import block_size, build_outputs
from camexp.prediction.table import PREDICTIONS
from camexp.prediction.writer import Records
from camexp.prediction.writing import State
from camexp.reporting.progress import Progress
from camexp.run_files import REPORT

log = logging.getLogger(__name__)


def gather(folder: Path) -> None:
    """Join tables, report and lists of annotations of all shards, in the order of the images.

    What is joined is made of the shards' own records each time: called twice it gives the same.

    Args:
        folder: the output folder of the prediction.

    Raises:
        UserError: shards are missing; what is there is joined all the same.
    """
    manifest = Manifest.of_shards(folder)
    options = manifest.read_options(folder, PredictOptions)
    shards = Shard(0, manifest.shards).all()
    outputs = build_outputs(folder, manifest, options, shards[0])
    states = [State.read(shard.folder(folder)) for shard in shards]
    with Progress("gathering", total=len(outputs.all), unit="kinds") as progress:
        for one in outputs.all:
            if not one.of_shard:
                # a shard may be at work: what it wrote after its state need not be whole
                one.assemble([
                    Records(shard.folder(folder) / one.records, state.lengths.get(one.records, 0) if state else 0)
                    for shard, state in zip(shards, states, strict=True)
                ])  # fmt: skip
            progress.advance(1)
    explained = sum(state.explained for state in states if state)
    skipped = sum(state.skipped for state in states if state)
    log.info(f"\n  images       {explained}" + (f"   ({skipped} skipped, see skipped.csv)" if skipped else ""))
    log.info(f"  results      {display_path(folder / PREDICTIONS)}")
    if manifest.page is not None:
        log.info(f"  look at      {display_path(folder / REPORT)}   (in a browser)")
    if outputs.annotations:
        log.info(f"  annotations  {outputs.annotations.summary()}")
    rows = [len(shard.rows(manifest.images, block_size(options))) for shard in shards]
    missing = [
        shard for shard, state, count in zip(shards, states, rows, strict=True)
        if count and (state is None or not state.finished)
    ]  # fmt: skip
    if missing:
        absent = sum(rows) - explained - skipped
        raise UserError(missing_shards(folder, missing, absent, manifest.images))
