"""Downloads from a local address: sound, damaged and hostile archives."""

import hashlib
import io
import multiprocessing
import os
import tarfile
from pathlib import Path

import pytest

from camexp import UserError
from camexp import locks as locking
from camexp.config import DatasetOptions
from camexp.data import build_images, download, find_caltech256
from camexp.reporting.progress import Progress
from tests.conftest import paint


def archive(path, folder, extra=()):
    with tarfile.open(path, "w") as tar:
        tar.add(folder, "256_ObjectCategories")
        for member, content in extra:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return {"url": path.as_uri(), "md5": hashlib.md5(path.read_bytes()).hexdigest()}


@pytest.fixture
def folder(tmp_path):
    for label, name in ((1, "ak47"), (2, "dog")):
        paint(tmp_path / "made" / f"{label:03d}.{name}" / f"{label:03d}_0001.jpg", (90, 90, 90))
    return tmp_path / "made"


def test_fetched_checked_unpacked_once(tmp_path, folder):
    where = archive(tmp_path / "a.tar", folder)
    root = tmp_path / "root"
    assert find_caltech256(str(root), download=True, **where).classes == ("ak47", "dog")
    assert [path.name for path in root.iterdir()] == ["256_ObjectCategories"]
    (tmp_path / "a.tar").unlink()
    assert len(find_caltech256(str(root), download=True, **where)) == 2  # nothing is fetched again


def test_a_wrong_checksum_leaves_nothing(tmp_path, folder):
    where = archive(tmp_path / "a.tar", folder) | {"md5": "0" * 32}
    with pytest.raises(UserError, match="came with MD5 .* expected 000"):
        find_caltech256(str(tmp_path / "root"), download=True, **where)
    assert list((tmp_path / "root").iterdir()) == []


def test_no_network_says_what_to_bring(tmp_path):
    with pytest.raises(UserError, match=r"bring file:///.* as .*256_ObjectCategories\.tar yourself"):
        find_caltech256(str(tmp_path / "root"), download=True, url=(tmp_path / "absent").as_uri())


@pytest.mark.parametrize("attack", ["../escaped.txt", "/tmp/camexp-escaped.txt", "link"])
def test_a_hostile_archive_writes_nothing_outside(tmp_path, folder, attack):
    member = tarfile.TarInfo(attack)
    extra = [(member, b"escaped")]
    if attack == "link":
        member.type, member.linkname = tarfile.SYMTYPE, "../.."
        extra = [(member, b""), (tarfile.TarInfo("link/escaped.txt"), b"escaped")]
    where = archive(tmp_path / "a.tar", folder, extra)
    root = tmp_path / "inner" / "root"
    if attack.startswith("/"):  # tarfile takes an absolute name as one inside the folder
        find_caltech256(str(root), download=True, **where)
        assert not Path(attack).exists()
        return
    with pytest.raises(UserError, match="failed"):
        find_caltech256(str(root), download=True, **where)
    assert not list(tmp_path.rglob("escaped.txt"))
    assert not (root / "256_ObjectCategories").exists()


def test_an_archive_that_could_not_be_unpacked_is_not_fetched_again(tmp_path, folder, monkeypatch):
    where = archive(tmp_path / "a.tar", folder)
    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", lambda path: (_ for _ in ()).throw(OSError("the disk is full")))
        with pytest.raises(UserError, match="the disk is full"):
            find_caltech256(str(root), download=True, **where)
    assert [path.name for path in root.iterdir()] == ["256_ObjectCategories.tar"]
    (tmp_path / "a.tar").unlink()
    assert len(find_caltech256(str(root), download=True, **where)) == 2


class Downloading:
    """A process that downloads. It tells when it is in the middle of fetching, or about to wait for another one."""

    CONTEXT = multiprocessing.get_context("fork")

    def __init__(self, root, where, locks=True):
        self.fetching, self.waiting = self.CONTEXT.Event(), self.CONTEXT.Event()
        self.told = self.CONTEXT.Event()  # either of them
        self._go_on, self._release = os.pipe()  # no event: setting one waits for a killed process that waits for it
        self.process = self.CONTEXT.Process(target=self._run, args=(root, where, locks), daemon=True)
        self.process.start()

    def _run(self, root, where, locks):
        lock_file, advance = locking.lock_file, Progress.advance

        def noted(path, shared, wait=False):
            if not locks:
                raise OSError("no locks here")
            if wait:
                self.waiting.set()
                self.told.set()
            return lock_file(path, shared, wait)

        def stopped(progress, count, note=""):
            self.fetching.set()
            self.told.set()
            os.read(self._go_on, 1)
            advance(progress, count, note)

        locking.lock_file = download.lock_file = noted
        Progress.advance = stopped
        assert find_caltech256(str(root), download=True, **where).classes == ("ak47", "dog")

    def go_on(self):
        os.write(self._release, b"x")

    def succeeded(self):
        self.process.join()
        os.close(self._go_on)
        os.close(self._release)
        return self.process.exitcode == 0


def test_one_process_downloads_while_the_others_wait(tmp_path, folder):
    root, where = tmp_path / "root", archive(tmp_path / "a.tar", folder)
    first = Downloading(root, where)
    first.fetching.wait()
    others = [Downloading(root, where) for _ in range(2)]
    for one in others:
        one.told.wait()
    for one in (first, *others):
        one.go_on()
    assert [one.succeeded() for one in (first, *others)] == [True] * 3
    assert not any(one.fetching.is_set() for one in others)
    assert [path.name for path in root.iterdir()] == ["256_ObjectCategories"]


def test_where_there_are_no_locks_each_downloads_for_itself(tmp_path, folder):
    root, where = tmp_path / "root", archive(tmp_path / "a.tar", folder)
    slow, quick = (Downloading(root, where, locks=False) for _ in range(2))
    slow.fetching.wait()
    quick.go_on()
    assert quick.succeeded()  # both had begun, and one is done
    slow.go_on()
    assert slow.succeeded()
    assert [path.name for path in root.iterdir()] == ["256_ObjectCategories"]


def test_a_killed_download_leaves_nothing_for_the_next_one(tmp_path, folder):
    root, where = tmp_path / "root", archive(tmp_path / "a.tar", folder)
    killed = Downloading(root, where)
    killed.fetching.wait()
    killed.process.kill()
    assert not killed.succeeded()
    assert len(find_caltech256(str(root), download=True, **where)) == 2
    assert [path.name for path in root.iterdir()] == ["256_ObjectCategories"]


def test_the_option_reaches_the_data_set(tmp_path, folder):
    where = archive(tmp_path / "a.tar", folder)
    options = {"_target_": "camexp.data.find_caltech256", "root": str(tmp_path / "root"), "check": False, **where}
    with pytest.raises(UserError, match="root does not exist"):
        build_images(DatasetOptions.read({**options, "download": False}))
    assert build_images(DatasetOptions.read({**options, "download": True})).classes == ("ak47", "dog")
