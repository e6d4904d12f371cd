"""A small network in a checkpoint, and a folder of images of which one is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from camexp.models import CAMClassifier, Preprocessing, checkpoint_metadata
from tests.conftest import paint


@pytest.fixture
def ready_to_predict(tmp_path: Path) -> tuple[str, ...]:
    """The options of a prediction of 40 images of three sizes in blocks of 32."""
    torch.manual_seed(0)
    model = CAMClassifier("vgg11", ["a", "b", "c"], Preprocessing((32, 32)), width=1 / 16, head={"channels": 8})
    state = {f"classifier.{key}": value for key, value in model.state_dict().items()}
    torch.save({"camexp": checkpoint_metadata(model, {}), "state_dict": state}, tmp_path / "a.ckpt")
    for number in range(40):
        paint(tmp_path / "in" / f"{number:02d}.png", (5 * number, 9, 90), (40 + 8 * (number % 3), 40), seed=number)
    (tmp_path / "in" / "13.png").write_bytes(b"no image")
    return (
        "ckpt=a.ckpt", "input=in", "batch_size=2", "num_workers=0", "gpus=0", "precision=32-true", "montage.images=4",
        "annotations=[coco,yolo,voc,masks]", "threshold.value=0.3", "label=[a,b]",
    )  # fmt: skip


@pytest.fixture
def power_cut(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it lets the tenth batch from then on fail, once."""
    from camexp.prediction import run

    real, calls = run.explain_in_memory, []

    def explain(*arguments, **more):
        calls.append(0)
        if len(calls) == 10:
            raise RuntimeError("power cut")
        return real(*arguments, **more)

    return lambda: monkeypatch.setattr(run, "explain_in_memory", explain)


def results(folder: Path) -> dict[str, bytes]:
    """All that a user would look at, and nothing that only says how it came about."""
    own = {".hydra", "shards", "jobs"}
    besides = {".in_use", "state.json", "manifest.json", "multirun.yaml"}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix != ".log"
        and path.name not in besides
        and not own & set(path.relative_to(folder).parts)
    }
