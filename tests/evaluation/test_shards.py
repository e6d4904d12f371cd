"""Evaluations in shards, and such as were interrupted: their figures and files are those of one quiet run."""

from __future__ import annotations

import json
import re
import time
from itertools import count
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from camexp.evaluation.ledger import Ledger
from camexp.evaluation.passes import Passes
from camexp.evaluation.scores import Scores
from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import COLOURS, PATIENCE, run_process
from tests.prediction.conftest import results

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def ready(colours, tmp_path) -> tuple[str, ...]:
    """The options of an evaluation of 24 images in batches of 5."""
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", sorted(COLOURS), Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    boxes = [f"{path.relative_to(colours)},3,4,20,30" for path in sorted(colours.rglob("*.png"))[::2]]
    (tmp_path / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *boxes]))
    return (
        "ckpt=a.ckpt", "dataset=imagefolder", f"dataset.root={colours}", "boxes=boxes.csv", "cam=cam,pc1",
        "batch_size=5", "num_workers=0", "gpus=0", "precision=32-true", "faithfulness.images=3", "faithfulness.steps=2",
        "sheet.images=3", "features.cache=off",
    )  # fmt: skip


def found(folder: Path) -> dict[str, bytes]:
    """What was written, less the time it took."""
    files = results(folder)
    kept = {
        name: content
        for name, content in files.items()
        if name not in (".scored.jsonl", ".report.jsonl", "sums.safetensors")
    }
    metrics = json.loads(kept["metrics.json"])
    for one in metrics["methods"].values():
        assert one.pop("seconds_per_image") > 0
    page = re.sub(rb'\{"name":"[^"]*seconds[^}]*\}', b"", kept["report.html"])
    return {**kept, "metrics.json": json.dumps(metrics).encode(), "report.html": page}


@pytest.fixture
def quiet(script, ready, tmp_path) -> dict[str, bytes]:
    done = script("evaluate.py", *ready, "output=quiet")
    assert done.code == 0, done.err
    files = found(tmp_path / "quiet")
    assert {"metrics.json", "per_image.csv", "confusion.csv", "report.html", "cam_best.png", "curves.png"} <= set(files)
    return files


@pytest.mark.slow
def test_shards_joined_are_the_undivided_evaluation(script, ready, quiet, colours, tmp_path):
    done = script("evaluate.py", *ready, "output=out", "shards=3", "shard=1")
    assert done.code == 0 and "camexp gather out" in done.out, done.err
    gathered = run_process("camexp/gather.py", "out", cwd=tmp_path)
    assert gathered.code == 1 and "of 24 images are missing, of shards 0, 2" in gathered.err
    assert not (tmp_path / "out" / "metrics.json").exists()
    for number in (2, 0):
        assert script("evaluate.py", *ready, "output=out", "shards=3", f"shard={number}").code == 0
    for _ in range(2):
        gathered = run_process("camexp/gather.py", "out", cwd=tmp_path)
        assert gathered.code == 0 and "MaxBoxAccV2" in gathered.out, gathered.err
        assert found(tmp_path / "out") == quiet
    scored = tmp_path / "out" / "shards" / "00001-of-00003" / ".scored.jsonl"
    scored.write_bytes(scored.read_bytes()[:100])
    gathered = run_process("camexp/gather.py", "out", cwd=tmp_path)
    assert gathered.code == 1 and "10 of 24 images are missing, of shard 1" in gathered.err
    assert script("evaluate.py", *ready, "output=out", "shards=3", "shard=1", "resume=auto").code == 0
    gathered = run_process("camexp/gather.py", "out", cwd=tmp_path)
    assert gathered.code == 0 and found(tmp_path / "out") == quiet
    first = min(colours.rglob("*.png"))
    (first.parent / "0.png").write_bytes(first.read_bytes())  # comes first: every index would be another image's
    gathered = run_process("camexp/gather.py", "out", cwd=tmp_path)
    assert gathered.code == 1 and "the 25 images that are there now are not the 24 of these shards" in gathered.err
    assert found(tmp_path / "out") == quiet


def test_what_changed_meanwhile_is_not_gone_on_with(script, ready, colours, tmp_path):
    """An option that stays the same may name other boxes, masks, maps or thresholds than before."""
    rng = np.random.default_rng(0)
    for path in colours.rglob("*.png"):
        file = tmp_path / "maps" / path.relative_to(colours).with_suffix(".npy")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, rng.random((9, 9), np.float32))
    given = [one for one in ready if not one.startswith(("ckpt", "cam", "faithfulness"))]
    command = ("evaluate.py", *given, "heatmaps=maps", "output=out")
    assert script(*command).code == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    assert "are done already" in script(*command, "resume=auto").out
    boxes = (tmp_path / "boxes.csv").read_text()
    (tmp_path / "boxes.csv").write_text(boxes.replace("3,4,20,30", "3,4,21,30", 1))
    done = script(*command, "resume=auto")
    assert done.code == 1 and "holds results that differ in the boxes: repeat" in done.err
    (tmp_path / "boxes.csv").write_text(boxes)
    np.save(file, np.eye(10, dtype=np.float32))
    done = script(*command, "resume=auto")
    assert done.code == 1 and "holds results that differ in the heatmaps: repeat" in done.err
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_shards_in_one_command(ready, quiet, tmp_path):
    done = run_process("evaluate.py", *ready, "output=out", "shards=2", cwd=tmp_path)
    assert done.code == 0 and "MaxBoxAccV2" in done.out, done.err
    assert found(tmp_path / "out") == quiet


@pytest.mark.parametrize("at", [1, 3, 5])
def test_an_interrupted_one_resumes(script, ready, quiet, tmp_path, monkeypatch, at):
    monkeypatch.setattr("camexp.evaluation.ledger.SECONDS", 0.0)
    real, calls, commit, first_is_down = Passes._pass, [], Ledger.commit, Event()

    def tell(ledger, following):
        commit(ledger, following)
        first_is_down.set()

    def stop(*arguments):
        calls.append(0)
        if len(calls) == at:
            assert at < 3 or first_is_down.wait(PATIENCE)  # scoring is a thread of its own: it may not have come so far
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Ledger, "commit", tell)
    monkeypatch.setattr(Passes, "_pass", stop)
    done = script("evaluate.py", *ready, "output=out")
    assert done.code == 1 and "power cut" in done.err
    done = script("evaluate.py", *ready, "output=out", "resume=auto")
    assert done.code == 0, done.err
    assert found(tmp_path / "out") == quiet
    if at > 2:
        assert "resuming: " in done.out and len(calls) < at + 5
    calls.clear()
    done = script("evaluate.py", *ready, "output=out", "resume=auto")
    assert done.code == 0 and "the 24 images are done already" in done.out and not calls
    assert found(tmp_path / "out") == quiet
    other = [one for one in ready if not one.startswith("cam=")]
    done = script("evaluate.py", *other, "output=out", "resume=auto")
    assert done.code == 1 and "holds results that differ in cams" in done.err


def test_one_that_failed_while_it_scored_resumes(script, ready, quiet, tmp_path, monkeypatch):
    """Nothing is written down of a batch that was scored in part."""
    monkeypatch.setattr("camexp.evaluation.ledger.SECONDS", 0.0)
    real, calls = Scores.localise, []

    def fail(*arguments):
        calls.append(0)
        if len(calls) == 30:  # of the third batch, the last map, before what came of the batch is written down
            raise OSError(28, "No space left on device")
        return real(*arguments)

    monkeypatch.setattr(Scores, "localise", fail)
    done = script("evaluate.py", *ready, "output=out")
    assert done.code == 1 and "No space left" in done.err
    done = script("evaluate.py", *ready, "output=out", "resume=auto")
    assert done.code == 0 and "resuming: 10 of 24" in done.out, (done.out, done.err)
    assert found(tmp_path / "out") == quiet


def test_no_batch_takes_its_time_twice(script, ready, tmp_path, monkeypatch):
    """A batch that was computed but not scored when it ended is computed again: its first time does not count."""
    monkeypatch.setattr("camexp.evaluation.passes.time", SimpleNamespace(perf_counter=count().__next__))
    monkeypatch.setattr("camexp.evaluation.ledger.SECONDS", 0.0)
    scored = Scores.localise

    def slowly(*arguments):
        time.sleep(0.05)
        return scored(*arguments)

    monkeypatch.setattr(Scores, "localise", slowly)

    def seconds(output: str) -> list[float]:
        methods = json.loads((tmp_path / output / "metrics.json").read_text())["methods"]
        return [one["seconds_per_image"] * 24 for one in methods.values()]

    assert script("evaluate.py", *ready, "output=quiet").code == 0
    assert seconds("quiet")[0] == pytest.approx(5)  # the clock ticks at each look: 1 for each of five batches
    real, calls = Passes._pass, []

    def stop(*arguments):
        calls.append(0)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return real(*arguments)

    monkeypatch.setattr(Passes, "_pass", stop)
    assert script("evaluate.py", *ready, "output=out").code == 1
    done = script("evaluate.py", *ready, "output=out", "resume=auto")
    assert done.code == 0 and "resuming: " in done.out, done.out
    assert seconds("out") == pytest.approx(seconds("quiet"))


def test_maps_made_elsewhere_in_shards(script, ready, colours, tmp_path):
    rng = np.random.default_rng(0)
    for path in colours.rglob("*.png"):
        (tmp_path / "maps" / path.parent.name).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "maps" / path.parent.name / f"{path.stem}.npy", rng.random((7, 7), dtype=np.float32))
    given = ("heatmaps=maps", "dataset=imagefolder", f"dataset.root={colours}", "boxes=boxes.csv", "batch_size=5")
    assert script("evaluate.py", *given, "output=whole").code == 0
    for number in range(2):
        done = script("evaluate.py", *given, "output=out", "shards=2", f"shard={number}")
        assert done.code == 0, done.err
    assert run_process("camexp/gather.py", "out", cwd=tmp_path).code == 0
    one, other = (
        json.loads((tmp_path / name / "metrics.json").read_text())["methods"]["heatmaps"] for name in ("whole", "out")
    )
    for figures in (one, other):
        figures.pop("seconds_per_image")
    assert one == other and one["images_with_boxes"] == 12
