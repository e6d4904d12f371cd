"""train.py in processes of its own: what they print, share and keep when they are stopped."""

import json
import re
import signal
import subprocess
import sys

import pytest
import torch

from tests.cli.conftest import accuracy_by_hand
from tests.conftest import ROOT, TINY, run_process, running


@pytest.mark.slow
def test_two_processes_share_a_run(colours, tmp_path):
    done = run_process("train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer=ddp_cpu",
                       "checkpoint.every_n_steps=3", "split.train_per_class=7",
                       "hydra.run.dir=run", cwd=tmp_path)  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.count("24 images of 3 classes") == 1  # one of them speaks
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()].count("run") == 1
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["devices"], summary["steps"]) == (2, 6)
    # three images on two processes: none is counted twice
    assert summary["final"]["val/accuracy"] == pytest.approx(accuracy_by_hand(tmp_path / "run", "last"))
    assert {"best.ckpt", "last.ckpt", "step_000003.ckpt"} <= {
        path.name for path in (tmp_path / "run/checkpoints").iterdir()
    }


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_state(colours, tmp_path):
    arguments = ("dataset=imagefolder", f"dataset.root={colours}", *TINY, "trainer.max_epochs=100000",
                 "checkpoint.every_n_steps=20", "hydra.run.dir=run")  # fmt: skip
    with running("train.py", *arguments, cwd=tmp_path) as process:
        process.until("step 21: validation")
        done = process.end(signal.SIGINT)
    assert done.code == 128 + signal.SIGINT
    assert "Traceback" not in done.out
    saved = re.search(r"stopped by Ctrl-C after step (\d+), saved as (\S+):", done.out)
    assert saved, done.out
    assert (tmp_path / "run/checkpoints/step_000020.ckpt").exists()
    checkpoint = torch.load(tmp_path / saved[2], weights_only=True)
    assert checkpoint["global_step"] == int(saved[1]) >= 20


@pytest.mark.slow
def test_help_is_quick_to_read_and_explains(tmp_path):
    done = run_process("train.py", "--help", cwd=tmp_path, fresh=True)
    assert done.code == 0
    assert "The ten options most used" in done.out
    assert (
        "dataset: caltech101, caltech256, cub200, huggingface, imagefolder, imagenet, shapes, torchvision, webdataset, wsol"
        in done.out
    )
    assert "python train.py dataset=caltech256" in done.out
    modules = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['train.py', '--help']; import runpy\ntry: runpy.run_path('{ROOT / 'train.py'}', run_name='__main__')\nexcept SystemExit: pass\nprint('torch' in sys.modules)"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert modules.stdout.rstrip().endswith("False")  # torch takes seconds to import


@pytest.mark.slow
def test_a_process_of_its_own_prints_plain_lines(colours, tmp_path):
    done = run_process(
        "train.py", "dataset=imagefolder", f"dataset.root={colours}", *TINY, "hydra.run.dir=run",
        cwd=tmp_path, fresh=True,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    assert re.search(r"step 6: validation accuracy \d\.\d+, loss", done.out)
    assert "Warning" not in done.err, done.err
