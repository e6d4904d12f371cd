"""The check of a large data set: done once, by one process, and never from the beginning again."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from camexp.data import UnreadableImage, check, find_imagefolder, imageset
from camexp.data.check import find_undecodable
from camexp.data.imageset import ImageSet


@pytest.fixture
def looked(monkeypatch) -> list[str]:
    """The names of the files that were decoded."""
    names: list[str] = []
    read = imageset.read_image
    monkeypatch.setattr(imageset, "read_image", lambda path: names.append(path.name) or read(path))
    return names


def test_an_interrupted_check_goes_on(colours, looked, monkeypatch):
    images = find_imagefolder(str(colours))
    advance = check.Progress.advance

    def interrupted(progress, count, note=""):
        advance(progress, count, note)
        if progress.done >= 16:
            raise KeyboardInterrupt

    monkeypatch.setattr(check.Progress, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_undecodable(images)
    monkeypatch.setattr(check.Progress, "advance", advance)
    looked.clear()
    assert find_undecodable(images) == [] and len(looked) == 8


def _check_and_die(images: ImageSet, portion: int) -> None:
    import os

    check.PORTION = portion
    advance = check.Progress.advance

    def killed(progress, count, note=""):
        advance(progress, count, note)
        if progress.done >= 16:
            os._exit(9)  # as a kill: nothing is tidied up

    check.Progress.advance = killed
    find_undecodable(images)


def test_a_killed_check_keeps_the_portions_that_were_whole(colours, looked):
    images = find_imagefolder(str(colours))
    process = multiprocessing.get_context("fork").Process(target=_check_and_die, args=(images, 8), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == 9
    looked.clear()
    assert find_undecodable(images) == [] and len(looked) == 16, "the first portion was remembered"


def test_subsets_are_remembered_together(colours, looked):
    images = find_imagefolder(str(colours))
    for some in (["blue", "green"], ["green", "red"]):
        find_undecodable(images.select_classes(some))
    assert len(looked) == 24
    assert find_undecodable(images) == [] and len(looked) == 24


def _check(
    images: ImageSet, begun: multiprocessing.Event, go_on: multiprocessing.Event, log: Path, broken: str
) -> None:
    read = imageset.read_image

    def slow(path):
        begun.set()
        go_on.wait()
        with log.open("a") as file:
            file.write(f"{path.name}\n")
        if path.name == broken:  # as a network's failure: another one would not see it
            raise UnreadableImage("stale file handle")
        return read(path)

    imageset.read_image = slow
    with log.with_name(f"found-{multiprocessing.current_process().name}").open("w") as file:
        file.write(repr([path.name for path, _ in find_undecodable(images)]))


def test_several_processes_decode_each_file_once_and_find_the_same(colours, tmp_path):
    images = find_imagefolder(str(colours))
    context = multiprocessing.get_context("fork")
    begun, go_on, waiting = context.Event(), context.Event(), [context.Event() for _ in range(2)]
    first = context.Process(target=_check, args=(images, begun, go_on, tmp_path / "log", "red_3.png"), daemon=True)
    first.start()
    begun.wait()  # it has the lock
    others = [
        context.Process(target=_wait, args=(images, event, go_on, tmp_path / "log"), daemon=True) for event in waiting
    ]
    for process in others:
        process.start()
    for event in waiting:
        event.wait()  # about to wait for the lock: the first one may go on
    go_on.set()
    for process in (first, *others):
        process.join()
    assert sorted((tmp_path / "log").read_text().splitlines()) == sorted(path.name for path in images.paths)
    assert {path.read_text() for path in tmp_path.glob("found-*")} == {"['red_3.png']"}
    assert len(list(tmp_path.glob("found-*"))) == 3


def _wait(images: ImageSet, waiting: multiprocessing.Event, go_on: multiprocessing.Event, log: Path) -> None:
    from camexp import locks

    lock_file, barrier = locks.lock_file, waiting

    def told(path, shared, wait=False):
        if wait:
            barrier.set()
        return lock_file(path, shared, wait)

    locks.lock_file = told
    _check(images, waiting, go_on, log, "none")


def test_no_more_files_are_queued_than_threads_can_soon_take(colours, monkeypatch):
    images = find_imagefolder(str(colours))
    many = images.take(list(range(24)) * 100)
    submitted, most = 0, 0

    class Pool(check.ThreadPoolExecutor):
        def submit(self, *args):
            nonlocal submitted
            submitted += 1
            return super().submit(*args)

    advance, done = check.Progress.advance, 0

    def counted(progress, count, note=""):
        nonlocal done, most
        done += 1
        most = max(most, submitted - done)
        advance(progress, count, note)

    monkeypatch.setattr(check, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(check.Progress, "advance", counted)
    assert find_undecodable(many) == [] and done == 300 and 0 < most <= 2 * 32
