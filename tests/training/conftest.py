"""Runs on three colours that resume where they were left."""

from __future__ import annotations

import pytest

from tests.conftest import TINY

OPTIONS = (
    "trainer.max_epochs=4", "trainer.check_every_n_steps=2", "trainer.log_every_n_steps=1", "inspect.every_n_steps=2",
    "checkpoint.every_n_steps=2", "checkpoint.keep=null", "optimizer.lr=1e-2", "model.head.dropout=0.3",
    "scheduler=cosine",
)  # fmt: skip  # 4 epochs of 3 steps


@pytest.fixture
def run(script, colours, tmp_path):
    def call(folder: str, *arguments: str):
        common = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, *OPTIONS)
        return script("train.py", *common, f"hydra.run.dir={folder}", "resume=auto", *arguments)

    return call
