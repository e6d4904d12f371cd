"""The shards of a prediction as one."""

from __future__ import annotations

import logging
from pathlib import Path

from camexp.errors import UserError
from camexp.files import display_path
from camexp.launching.shards import Shard
from camexp.prediction.manifest import MANIFEST, Manifest
from camexp.prediction.outputs import block_size, build_outputs
from camexp.prediction.table import PREDICTIONS
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
        UserError: there is no such prediction, or shards are missing; what is there is joined all the same.
    """
    manifest = Manifest.read(folder)
    if manifest is None:
        raise UserError(f"{folder} holds no {MANIFEST}: give the output folder of a prediction with shards=…")
    if manifest.shards == 1:
        raise UserError(f"{folder} holds a prediction that is not divided: there is nothing to gather")
    options = manifest.read_options(folder)
    shards = Shard(0, manifest.shards).all()
    outputs = build_outputs(folder, manifest, options, shards[0])
    with Progress("gathering", total=len(outputs.all), unit="kinds") as progress:
        for one in outputs.all:
            if not one.of_shard:
                one.assemble([shard.folder(folder) / one.records for shard in shards])
            progress.advance(1)
    states = [State.read(shard.folder(folder)) for shard in shards]
    explained = sum(state.explained for state in states if state)
    skipped = sum(state.skipped for state in states if state)
    log.info(f"\n  images       {explained}" + (f"   ({skipped} skipped, see skipped.csv)" if skipped else ""))
    log.info(f"  results      {display_path(folder / PREDICTIONS)}")
    if manifest.page is not None:
        log.info(f"  look at      {display_path(folder / REPORT)}   (in a browser)")
    if outputs.annotations:
        log.info(f"  annotations  {outputs.annotations.summary()}")
    if missing := [shard for shard, state in zip(shards, states, strict=True) if state is None or not state.finished]:
        absent = sum(
            len(shard.rows(manifest.images, block_size(options))) - (state.explained + state.skipped if state else 0)
            for shard, state in zip(shards, states, strict=True)
        )
        named = ", ".join(str(shard.number) for shard in missing[:10]) + " …" * (len(missing) > 10)
        raise UserError(
            f"{absent} of {manifest.images} images are missing, of shard{'s' * (len(missing) > 1)} {named}: the same "
            f"command as before goes on with them, with output={display_path(folder)} resume=auto"
        )
