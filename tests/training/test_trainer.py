"""What the trainer group becomes in Lightning's own terms."""

from __future__ import annotations

import pytest

from camexp.config import TRAIN
from camexp.errors import UserError
from camexp.training.trainer import build_trainer

OPTIONS = {
    "num_nodes": 1, "max_epochs": 2, "max_steps": None, "log_every_n_steps": 10, "gradient_clip_val": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "steps", "validation", "interval"),
    [("auto", 32500, 8125, 8125), ("auto", 1000, 20, 100), ("auto", 1000, 1000, None), ("auto", 40, 10, None),
     (100, 32500, 8125, 100), (2, 10, 10, 2), (10, 10, 1, None), (None, 1000, 1, None)],
)  # fmt: skip
def test_validation_never_sees_more_images_than_training_unless_asked_to(tmp_path, asked, steps, validation, interval):
    options = {**OPTIONS, "check_every_n_steps": asked}
    devices = {"accelerator": "cpu", "devices": 1}
    trainer = build_trainer(options, devices, "32-true", steps, [], [], tmp_path, validation_batches=validation)
    assert trainer.val_check_interval == (interval or 1.0)
    assert trainer.check_val_every_n_epoch == (None if interval else 1)


def test_an_interval_is_auto_null_or_a_number():
    number = TRAIN["trainer.check_every_n_steps"]
    for value in ("auto", None, 1):
        number.check("trainer.check_every_n_steps", value)
    for value in (0, "often", True, 1.5):
        with pytest.raises(UserError, match="expected auto, null or a whole number from 1 to"):
            number.check("trainer.check_every_n_steps", value)
