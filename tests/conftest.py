"""Shared by all tests: small folders of images, the scripts as a user runs them, the real photographs."""

from __future__ import annotations

import os
import re
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from camexp.devices import available_cores

if "PYTEST_XDIST_WORKER_COUNT" in os.environ:  # before torch is imported: threads that share a core wait for each other
    share = available_cores() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))

import numpy as np
import pytest
from PIL import Image

from camexp.precision import NATIVE
from tests.preloaded import Process

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
PHOTOGRAPHS = SHARED / "data" / "caltech101-20"
PATIENCE = 600  # seconds that a test waits for an event at most, however busy the machine; pytest ends it at 900
VGG16 = SHARED / "weights" / "vgg16-imagenet-features.fp16.safetensors"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--native-bf16",
        choices=("yes", "no"),
        help="what precision=auto takes the processor for, whatever it is (default: ask it)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell sets it in the background, for children too
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if answer := config.getoption("--native-bf16"):
        os.environ[NATIVE] = answer  # the processes that tests start see it too


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered from run to run stays out of the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (48, 40), seed: int = 0) -> Path:
    """A small image of about one colour."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.array(colour) + rng.normal(0, 30, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 40)}


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of three classes, eight images each."""
    root = tmp_path / "colours"
    for name, colour in COLOURS.items():
        for number in range(8):
            paint(root / name / f"{name}_{number}.png", colour, seed=number)
    return root


# Arguments that make any run small.
TINY = (
    "model=vgg11", "model.width=0.0625", "model.weights=null", "model.freeze=none", "model.head.channels=8",
    "model.head.init_std=0.05", "transform.size=32", "batch_size=8", "num_workers=0", "trainer.max_epochs=2",
    "trainer.gpus=0",
)  # fmt: skip


@dataclass
class Finished:
    """How a script ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def script(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Finished]:
    """Run train.py or predict.py in this process, standing in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def call(name: str, *arguments: str) -> Finished:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", [str(ROOT / name), *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / name), run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0) if not isinstance(stop.code, str) else 1
        captured = capfd.readouterr()
        return Finished(code, captured.out, captured.err)

    return call


@contextmanager
def started(
    name: str, *arguments: str, cwd: Path, fresh: bool, stderr: int, **environment: str
) -> Iterator[Process | subprocess.Popen[str]]:
    """A script in a process group of its own, which does not outlive the block, whatever becomes of the test."""
    command, env = [str(ROOT / name), *arguments], {**os.environ, **environment}
    process: Process | subprocess.Popen[str]
    if fresh or not sys.platform.startswith("linux"):
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=stderr, text=True, start_new_session=True,
        )  # fmt: skip
    else:
        process = Process(command, cwd=cwd, env=env, stderr=stderr)
    with process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def run_process(name: str, *arguments: str, cwd: Path, fresh: bool = False) -> Finished:
    """Run a script as its user does, in a process of its own; ``fresh``: in one that has nothing imported yet."""
    options = {"cwd": cwd, "fresh": fresh, "stderr": subprocess.PIPE, "PYTHONWARNINGS": "default"}
    with started(name, *arguments, **options) as process:
        out, err = process.communicate()
    assert process.returncode is not None
    return Finished(process.returncode, out, err)


class Running:
    """A script in a process group of its own, whose lines can be waited for."""

    def __init__(self, process: Process | subprocess.Popen[str]):
        self.process = process

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for the line in which the pattern is found."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern} was never said: {''.join(seen)}")

    def end(self, signum: int | None = None) -> Finished:
        """Wait for its end, after a signal if one is given; what it said from here on."""
        if signum is not None:
            self.process.send_signal(signum)
        out, _ = self.process.communicate()
        assert self.process.returncode is not None
        return Finished(self.process.returncode, out, "")


@contextmanager
def running(name: str, *arguments: str, cwd: Path, fresh: bool = False) -> Iterator[Running]:
    """Start a script, which does not outlive the block. Its two streams are one."""
    with started(name, *arguments, cwd=cwd, fresh=fresh, stderr=subprocess.STDOUT) as process:
        yield Running(process)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As each of two shards has on two cores: how many threads share a sum decides its last digits."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def photographs() -> Path:
    """Real photographs, one folder a class."""
    if not PHOTOGRAPHS.is_dir():
        pytest.skip(f"no real photographs at {PHOTOGRAPHS}")
    return PHOTOGRAPHS


@pytest.fixture
def vgg16_weights() -> Path:
    """The convolutions of VGG-16 as trained on ImageNet."""
    if not VGG16.is_file():
        pytest.skip(f"no pretrained weights at {VGG16}")
    return VGG16
