"""A disk that is full: the file that found no room is named, and nothing else is said."""

from __future__ import annotations

import errno
import logging
import resource
import sys
from collections import namedtuple

import pytest

from camexp.cli import run
from camexp.cli.errors import error_message
from camexp.training.checkpoints import why_not_written
from camexp.training.loggers import MetricsCSV
from camexp.training.tensorboard import TensorBoardLogger

Usage = namedtuple("Usage", "total used free")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit stands in for a full disk")
def test_a_table_that_finds_no_room_is_named(tmp_path):
    table = MetricsCSV(tmp_path / "metrics.csv")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            table.log_metrics({"train/loss": 1.0}, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error_message(caught.value).startswith(f"{table.path} could not be written (File too large): make room")


def test_a_full_disk_without_a_name():
    said = error_message(OSError(errno.ENOSPC, "No space left on device"))
    assert said.startswith("a file could not be written (No space left on device): make room")


def test_torch_s_own_word_for_a_full_disk(tmp_path, monkeypatch):
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    for free, said in ((4096, "No space left on device"), (10**9, "[enforce fail at inline_container.cc:672]")):
        monkeypatch.setattr("shutil.disk_usage", lambda _, free=free: Usage(10**9, 10**9 - free, free))
        assert why_not_written(error, tmp_path).startswith(said)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full stands in for a full disk")
def test_a_log_file_that_finds_no_room_says_nothing(capfd, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    logger = logging.getLogger("a full disk")
    handler = logging.FileHandler("/dev/full")
    logger.addHandler(handler)
    try:
        run(lambda: logger.error("unheard"), "train", [])
    finally:
        logger.removeHandler(handler)
        handler.stream = None  # what is buffered has nowhere to go
    assert "Logging error" not in capfd.readouterr().err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit stands in for a full disk")
def test_tensorboard_that_finds_no_room_names_the_run_and_shows_no_traceback(tmp_path, capfd):
    logger = TensorBoardLogger(save_dir=tmp_path, name="", version="")
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.save()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            while True:  # its thread fails, and the next write tells of it
                logger.log_metrics({"train/loss": 1.0}, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error_message(caught.value).startswith(f"{tmp_path} could not be written (File too large)")
    logger.experiment.file_writer.event_writer._async_writer._worker.join()
    assert "Traceback" not in capfd.readouterr().err
