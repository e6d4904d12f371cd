"""Downloads from a local address: sound, damaged and hostile archives."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from camexp import UserError
from camexp.data import find_caltech256
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
