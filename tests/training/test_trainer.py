"""What the trainer group becomes in Lightning's own terms."""

from __future__ import annotations

import tempfile

import pytest
import torch

from camexp.config import TrainerOptions
from camexp.errors import UserError
from camexp.training.trainer import SafeCheckpointIO, build_lightning_trainer


@pytest.mark.parametrize(
    ("asked", "steps", "validation", "interval"),
    [("auto", 32500, 8125, 8125), ("auto", 1000, 20, 100), ("auto", 1000, 1000, None), ("auto", 40, 10, None),
     (100, 32500, 8125, 100), (2, 10, 10, 2), (10, 10, 1, None), (None, 1000, 1, None)],
)  # fmt: skip
def test_validation_never_sees_more_images_than_training_unless_asked_to(tmp_path, asked, steps, validation, interval):
    options = TrainerOptions(max_epochs=2, check_every_n_steps=asked)
    devices = {"accelerator": "cpu", "devices": 1}
    trainer = build_lightning_trainer(
        options, devices, "32-true", steps, [], [], tmp_path, validation_batches=validation
    )
    assert trainer.val_check_interval == (interval or 1.0)
    assert trainer.check_val_every_n_epoch == (None if interval else 1)


def test_an_interval_is_auto_null_or_a_number():
    for value in ("auto", None, 1):
        assert TrainerOptions.read({"check_every_n_steps": value}).check_every_n_steps == value
    for value in (0, "often", True, 1.5):
        with pytest.raises(
            UserError, match=f"trainer.check_every_n_steps={value} is out of range: expected auto, null or"
        ):
            TrainerOptions.read({"check_every_n_steps": value}, "trainer")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"devices": 2}, r"trainer\.devices=2 is set by camexp itself: give trainer\.gpus=… instead"),
        ({"use_distributed_sampler": True}, r"set by camexp itself: leave it out"),
    ],
)
def test_what_is_camexp_s_own_is_said(given, said, tmp_path):
    with pytest.raises(UserError, match=said):
        build_lightning_trainer(
            TrainerOptions.read({"max_epochs": 2, **given}),
            {"accelerator": "cpu", "devices": 1, "strategy": "auto"},
            "32-true",
            10,
            [],
            [],
            tmp_path,
        )


def test_a_strategy_that_is_not_supported_is_refused(script):
    done = script("train.py", "trainer.strategy=fsdp")
    assert done.code == 1 and "trainer.strategy=fsdp is not known: expected one of auto, ddp" in done.err


def test_a_checkpoint_is_written_where_it_is_to_be(tmp_path, monkeypatch):
    """The system's folder for temporary files may be small, or in memory."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    SafeCheckpointIO().save_checkpoint({"a": torch.ones(2)}, tmp_path / "a.ckpt")
    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["a"].tolist() == [1, 1]
