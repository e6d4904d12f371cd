"""Several machines: as many processes as the options ask for, or a sentence instead of a wait without end."""

from __future__ import annotations

import json
import socket

import pytest

from camexp.errors import UserError
from camexp.launching.ddp import processes_to_start
from tests.conftest import TINY, running


@pytest.mark.parametrize("devices", ["trainer=ddp_cpu", "trainer.cpu_processes=1"])
def test_machines_that_nobody_starts_are_not_waited_for(script, monkeypatch, devices):
    guard = monkeypatch.setattr  # what would come next must not: the run would wait without end
    guard("camexp.data.build_images", lambda *_: pytest.fail("the data was read"))
    guard("camexp.launching.launch_ddp", lambda *_: pytest.fail("processes were started"))
    done = script("train.py", *TINY, devices, "trainer.num_nodes=2")
    assert done.code == 1 and done.err.count("\n") == 1, done.err
    assert "trainer.num_nodes=2, but NNODES=1" in done.err and "torchrun or srun" in done.err


def test_processes_that_others_start_are_counted(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes_to_start({"devices": 2}, num_nodes=2) == 0
    with pytest.raises(UserError, match=r"num_nodes=1 with 2 .* needs 2 processes, but torchrun or srun has started 4"):
        processes_to_start({"devices": 2}, num_nodes=1)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setenv("NNODES", "2")
    assert processes_to_start({"devices": 2}, num_nodes=2) == 2
    assert processes_to_start({"devices": 1}, num_nodes=2) == 1  # which knows its rank then


@pytest.mark.slow
def test_two_machines_of_one_device(colours, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for key, value in {"NNODES": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(key, str(value))
    options = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.num_nodes=2", "hydra.run.dir=run")
    monkeypatch.setenv("NODE_RANK", "0")
    with running("train.py", *options, cwd=tmp_path) as first:
        monkeypatch.setenv("NODE_RANK", "1")
        with running("train.py", *options, cwd=tmp_path) as second:
            ended = first.end(), second.end()
    assert [one.code for one in ended] == [0, 0], ended
    assert json.loads((tmp_path / "run/summary.json").read_text())["devices"] == 2
