"""The store keeps what was written, and never returns anything else."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import pytest
import torch

import camexp.features.store as module
from camexp.features.__main__ import main
from camexp.features.cache import FeatureCache
from camexp.features.fingerprint import fingerprint
from camexp.features.store import FeatureStore, evict, stores
from camexp.locks import lock_file

ABOUT = {"trunk": "vgg11", "dtype": "float16"}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "features" / fingerprint(ABOUT))
    store.open(ABOUT).close()
    return store


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_what_is_written_comes_back(store, dtype):
    tensor = torch.randn(4, 5, 6).to(dtype)
    store.write("abcd", tensor)
    back = store.read("abcd")
    assert back.dtype == dtype and torch.equal(back, tensor)
    assert store.read("abce") is None
    assert store.scan() == (1, store.path("abcd").stat().st_size)


def test_every_damaged_byte_is_noticed(store):
    tensor = torch.randn(2, 3, 4)
    store.write("abcd", tensor)
    sound = store.path("abcd").read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 0x20
        store.path("abcd").write_bytes(damaged)
        back = store.read("abcd")
        # a letter's case in the header may change without changing what is read
        assert back is None or torch.equal(back, tensor), place
    for length in range(0, len(sound), 7):
        store.path("abcd").write_bytes(sound[:length])
        assert store.read("abcd") is None
    store.write("abcd", tensor)
    assert torch.equal(store.read("abcd"), tensor)


def _fill(folder: Path, seed: int) -> None:
    store = FeatureStore(folder)
    generator = torch.Generator().manual_seed(0)
    tensors = torch.randn(40, 8, 8, 16, generator=generator)
    for number in torch.randperm(40, generator=torch.Generator().manual_seed(seed)).tolist():
        there = store.read(f"{number:04d}")
        assert there is None or torch.equal(there, tensors[number])
        store.write(f"{number:04d}", tensors[number])


def _fill_for_ever(folder: Path) -> None:
    while True:
        _fill(folder, 0)


def test_processes_fill_one_store_at_once_and_a_killed_one_leaves_no_wrong_entry(store):
    context = multiprocessing.get_context("fork")
    killed = context.Process(target=_fill_for_ever, args=(store.folder,))
    others = [context.Process(target=_fill, args=(store.folder, seed)) for seed in (1, 2, 3)]
    for process in (killed, *others):
        process.start()
    for process in others:
        process.join()
    killed.kill()  # in the middle of its work, which has no end
    killed.join()
    assert killed.exitcode == -signal.SIGKILL and [process.exitcode for process in others] == [0, 0, 0]
    tensors = torch.randn(40, 8, 8, 16, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(store.read(f"{number:04d}"), tensors[number]) for number in range(40))


def test_the_longest_unused_store_goes_first_and_one_in_use_never(tmp_path):
    found = []
    locks = []
    for number, name in enumerate(["old", "held", "newer", "mine"]):
        about = {"trunk": name}
        one = FeatureStore(tmp_path / fingerprint(about))
        locks.append(one.open(about))
        one.record_written(1, one.write("abcd", torch.zeros(1000)))
        os.utime(one.folder / "about.json", (number, number))
        found.append(one)
    old, held, newer, mine = found
    _, size = old.recorded_size()
    assert [one.folder for one in stores(tmp_path)] == [one.folder for one in found]
    locks[0].close()
    locks[2].close()
    assert evict(tmp_path, mine, 3.5 * size) == 3 * size
    assert not old.folder.exists() and held.folder.exists() and newer.folder.exists()
    assert evict(tmp_path, mine, 0) == 2 * size, "what is in use and what is ours stays"
    locks[1].close()
    assert evict(tmp_path, mine, 0) == size and mine.read("abcd") is not None


def test_only_what_is_a_store_s_own_is_removed(tmp_path):
    """A cache's folder is the user's: other things may lie there, even in a store."""
    foreign = tmp_path / "results" / "about.json"
    foreign.parent.mkdir()
    foreign.write_text(json.dumps(ABOUT))
    (tmp_path / "results" / "ab").mkdir()
    kept = [foreign, tmp_path / "results" / "ab" / "cd.safetensors", tmp_path / fingerprint(ABOUT) / "notes.txt"]
    store = FeatureStore(tmp_path / fingerprint(ABOUT))
    store.open(ABOUT).close()
    store.write("abcd", torch.zeros(1000))
    (store.folder / "ab" / ".7~abce.safetensors").write_bytes(b"of a process that was killed")
    for path in kept[1:]:
        path.write_text("mine")
    other = FeatureStore(tmp_path / "other")
    assert [one.folder for one in stores(tmp_path)] == [store.folder]
    assert evict(tmp_path, other, 0) == 0 and main(["clear", "--folder", str(tmp_path)]) == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    store.folder.joinpath("notes.txt").unlink()
    store.open(ABOUT).close()
    assert store.remove() and not store.folder.exists()


def test_a_store_that_is_removed_while_it_is_made_is_made_again(store, monkeypatch):
    taken = []

    def removed_first(path, shared, wait=False):
        if not taken:
            monkeypatch.setattr(module, "lock_file", lock_file)
            taken.append(store.remove())
        return lock_file(path, shared, wait)

    monkeypatch.setattr(module, "lock_file", removed_first)
    held = store.open(ABOUT)
    assert taken == [True] and store.is_intact() and not store.remove()
    store.write("abcd", torch.zeros(3))
    held.close()
    assert store.remove() and not store.folder.exists()


def test_a_store_of_before_is_counted_once(store, monkeypatch):
    size = store.write("abcd", torch.zeros(10)) + store.write("cdef", torch.zeros(10))
    store.open(ABOUT).close()
    store.record_written(1, 100)
    monkeypatch.setattr(store, "scan", None)
    assert store.recorded_size() == (3, size + 100)


def _cache(root: Path, max_gb: float = 1.0, dtype: str = "float32", trunk: str = "a") -> FeatureCache:
    return FeatureCache(root, {"trunk": trunk, "dtype": dtype}, max_gb)


def test_the_limit_ends_writing_but_not_reading(tmp_path, caplog):
    cache = _cache(tmp_path, max_gb=5_000e-9)
    rounded = cache.to_stored(torch.randn(10, 50, 2, 2))
    cache.put([f"{number:04d}" for number in range(10)], rounded)
    there = [number for number in range(10) if cache.store.read(f"{number:04d}") is not None]
    assert (
        there == list(range(len(there)))
        and 0 < len(there) < 10
        and cache.store.recorded_size() == cache.store.scan()
        and cache.store.scan()[1] <= 5_000
    )
    assert caplog.text.count("features.max_gb") == 1
    assert torch.equal(cache.store.read("0000"), rounded[0])


def test_a_disk_without_room_or_right_means_computing(tmp_path, caplog, monkeypatch):
    cache = _cache(tmp_path)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("camexp.features.store.save_file", full)
    cache.put(["abcd"], cache.to_stored(torch.zeros(1, 2, 2, 2)))
    cache.put(["abce"], cache.to_stored(torch.zeros(1, 2, 2, 2)))
    assert caplog.text.count("No space left on device") == 1
    assert [path for path in tmp_path.rglob("*") if "abc" in path.name] == []

    (tmp_path / "file").write_text("not a folder")
    caplog.clear()
    cache = _cache(tmp_path / "file")
    cache.put(["abcd"], cache.to_stored(torch.zeros(1, 2, 2, 2)))
    assert cache.store.read("abcd") is None and caplog.text.count("cannot be written to") == 1


def test_float16_says_what_it_cannot_hold(tmp_path):
    with pytest.raises(Exception, match="features.dtype=float16 cannot hold 100000: take features.dtype=bfloat16"):
        _cache(tmp_path, dtype="float16").to_stored(torch.full((1, 1, 1, 1), 1e5))
    assert _cache(tmp_path, dtype="bfloat16").to_stored(torch.full((1, 1, 1, 1), 1e5)).dtype == torch.bfloat16
