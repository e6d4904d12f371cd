"""What is remembered survives kills, damage and other processes, and nothing else is ever remembered."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import numpy as np
import pytest

from camexp.locks import exclusive
from camexp.record_log import KEY_BYTES, RecordLog, SortedRecords, file_key


def records(count: int, width: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, width), np.uint8)


def test_what_was_appended_is_read_wherever_the_file_was_cut(tmp_path):
    log = RecordLog(tmp_path / "a.log", 20)
    assert log.size() == 0 and log.read()[0].shape == (0, 20)
    portions = [records(3, seed=0), records(1, seed=1), records(5, seed=2)]
    ends = []
    for portion in portions:
        log.append(portion)
        ends.append(log.size())
    assert np.array_equal(log.read()[0], np.concatenate(portions)) and log.read()[1] == ends[-1]
    assert np.array_equal(log.read(ends[0])[0], np.concatenate(portions[1:]))
    whole = log.path.read_bytes()
    for cut in range(len(whole)):  # a process killed at any byte, then another one that goes on
        log.path.write_bytes(whole[:cut])
        there = sum(end <= cut for end in ends)
        assert np.array_equal(log.read()[0], np.concatenate([*portions[:there], portions[0][:0]]))
        log.append(portions[2])
        assert np.array_equal(log.read()[0], np.concatenate([*portions[:there], portions[2]]))


def test_a_damaged_portion_alone_is_lost(tmp_path):
    log = RecordLog(tmp_path / "a.log", 20)
    for seed in range(3):
        log.append(records(2, seed=seed))
    whole = log.path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        log.path.write_bytes(damaged)
        lost = place // (len(whole) // 3)
        assert np.array_equal(log.read()[0], np.concatenate([records(2, seed=s) for s in range(3) if s != lost]))
    assert len(RecordLog(log.path, 16).read()[0]) == 0, "of another width"


def _append(path: Path, seed: int) -> None:
    for number in range(50):
        RecordLog(path, 20).append(records(7, seed=1000 * seed + number))


def test_processes_append_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_append, args=(tmp_path / "a.log", seed), daemon=True) for seed in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    found = {bytes(record) for record in RecordLog(tmp_path / "a.log", 20).read()[0]}
    assert found == {bytes(one) for s in range(4) for n in range(50) for one in records(7, seed=1000 * s + n)}


def test_records_are_found_by_their_keys():
    some = records(500)
    some[100:110, :8] = some[0, :8]  # keys that begin alike
    table = SortedRecords(some[:200]).with_more(some[100:])  # some of them twice
    assert len(table) == 500
    assert all(table.get(bytes(one[:KEY_BYTES])) in (None, bytes(one[KEY_BYTES:])) for one in some)
    assert sum(table.get(bytes(one[:KEY_BYTES])) is not None for one in some) >= 490
    absent = records(50, KEY_BYTES, seed=9)
    assert not table.has(absent).any() and table.has(some[:100, :KEY_BYTES]).sum() >= 99
    assert not SortedRecords(some[:0]).has(absent).any() and SortedRecords(some[:0]).get(bytes(16)) is None


def test_a_file_s_key_follows_what_it_is(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(b"first")
    before = file_key(os.fsencode(path))
    monkeypatch.chdir(tmp_path)
    assert file_key(b"a.png") == before
    stamp = path.stat().st_mtime_ns
    path.rename(tmp_path / "b.png")
    path.write_bytes(b"other")  # of the same size
    os.utime(path, ns=(stamp, stamp))  # and, as an archive unpacks it, of the same time
    assert file_key(b"a.png") != before
    with pytest.raises(OSError):
        file_key(b"absent.png")


def _enter(lock: Path, entered: multiprocessing.Event, leave: int, log: Path) -> None:
    with exclusive(lock, "testing") as waited:
        with log.open("a") as file:
            file.write(f"in {waited}\n")
        entered.set()
        os.read(leave, 1)  # of a pipe: setting an event waits for those that wait for it, a killed one too
        with log.open("a") as file:
            file.write("out\n")


def test_one_process_at_a_time_and_a_killed_one_lets_the_next_one_in(tmp_path):
    context = multiprocessing.get_context("fork")
    lock, log, (leave, let_go) = tmp_path / "a.lock", tmp_path / "log", os.pipe()
    entered = [context.Event() for _ in range(3)]
    processes = [context.Process(target=_enter, args=(lock, event, leave, log), daemon=True) for event in entered]
    processes[0].start()
    entered[0].wait()
    for process in processes[1:]:
        process.start()
    processes[0].kill()
    processes[0].join()
    os.write(let_go, b"xx")
    for process in processes[1:]:
        process.join()
    assert log.read_text().replace("True", "False").splitlines() == ["in False"] + 2 * ["in False", "out"]
    assert not lock.exists()


def test_without_a_place_for_the_lock_it_goes_on(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with exclusive(tmp_path / "file" / "a.lock", "testing") as waited:
        assert not waited
