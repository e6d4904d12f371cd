"""Our reader of MATLAB files beside SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from camexp.data.matlab import read_matlab

KINDS = ["f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_as_scipy_reads_it(tmp_path, kind, compressed):
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.integers(0, 100, (3, 5)).astype(kind), "b": rng.integers(0, 9, (2, 3, 4)).astype(kind),
        "one": np.array([[7]], kind), "a_name_longer_than_four": np.zeros((1, 2), kind), "empty": np.zeros((0, 3), kind),
    }  # fmt: skip
    others = {"text": "llama", "struct": {"x": 1}, "cell": np.array([1, "a"], object), "complex": np.array([[1j]])}
    savemat(tmp_path / "a.mat", {**arrays, **others}, do_compression=compressed, oned_as="row")
    ours, theirs = read_matlab(tmp_path / "a.mat"), loadmat(tmp_path / "a.mat")
    assert set(ours) == set(arrays)
    for name in arrays:
        assert np.array_equal(ours[name], theirs[name]) and ours[name].shape == theirs[name].shape


def test_a_bomb_and_a_stump(tmp_path, monkeypatch):
    monkeypatch.setattr("camexp.data.matlab.LARGEST", 10_000)
    savemat(tmp_path / "a.mat", {"a": np.zeros((100, 100))}, do_compression=True)
    with pytest.raises(ValueError, match="gigantic"):
        read_matlab(tmp_path / "a.mat")
    content = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(content[:-9])
    with pytest.raises(ValueError, match="cut short"):
        read_matlab(tmp_path / "a.mat")
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match="no MATLAB 5 file"):
        read_matlab(tmp_path / "a.mat")
