"""Digests are computed once a file, whatever process asks."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from camexp.features import content_digest
from camexp.features import digests as module
from camexp.features.digests import WIDTH, Digests
from camexp.record_log import RecordLog


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(600)]
    for number, path in enumerate(paths):
        path.write_bytes(b"%d" % (number // 2))
    return paths


@pytest.fixture
def computed(monkeypatch) -> list[Path]:
    """The files whose bytes were read."""
    paths: list[Path] = []
    monkeypatch.setattr(module, "content_digest", lambda path: paths.append(path) or content_digest(path))
    return paths


def test_they_follow_the_bytes_and_are_remembered(tmp_path, files, computed):
    memory = RecordLog(tmp_path / "digests.log", WIDTH)
    digests = Digests(memory)
    expected = [content_digest(path) for path in files]
    assert [digests.of(path) for path in files] == expected
    assert [digests.of(path) for path in files] == expected and len(computed) == len(files)
    digests.save()
    computed.clear()
    again = Digests(memory)
    assert [again.of(path) for path in files] == expected and computed == []
    stamp = files[3].stat().st_mtime_ns
    files[3].write_bytes(b"x")  # of the same size
    os.utime(files[3], ns=(stamp, stamp))
    assert again.of(files[3]) == content_digest(files[3]) != expected[3] and computed == [files[3]]


def _look(memory: RecordLog, files: list[Path]) -> None:
    digests = Digests(memory)
    for path in files:
        digests.of(path)
    digests.save()


def test_what_other_processes_computed_is_taken_in(tmp_path, files, computed):
    memory = RecordLog(tmp_path / "digests.log", WIDTH)
    digests = Digests(memory)
    process = multiprocessing.get_context("fork").Process(target=_look, args=(memory, files), daemon=True)
    process.start()
    process.join()
    assert [digests.of(path) for path in files] == [content_digest(path) for path in files] and computed == []


def test_a_home_that_cannot_be_written_to(tmp_path, files, computed):
    (tmp_path / "file").write_text("")
    digests = Digests(RecordLog(tmp_path / "file" / "digests.log", WIDTH))
    for _ in range(2):
        assert [digests.of(path) for path in files] == [content_digest(path) for path in files]
    assert len(computed) == len(files)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(OSError, match=r"a\.png"):
        Digests(RecordLog(tmp_path / "digests.log", WIDTH)).of(tmp_path / "a.png")
