"""Python processes that have torch, Lightning and camexp imported when they begin: those imports take 7 to 10 s.

One process for each pytest worker (:func:`main`) imports them, runs nothing, and forks whenever a script is asked for.
What it forks, a keeper, forks the script's own process, tells of its start and its end, and kills it if pytest is gone.
The script's process gets what a new interpreter would have from its caller, and ends as the interpreter ends.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO

LONGEST = 1 << 20  # bytes of a request: arguments and environment


@functools.cache
def _server() -> socket.socket:
    """Of this pytest worker: it ends when this socket is closed, at the latest by the worker's own end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    return ours


class Process:
    """What tests use of ``subprocess.Popen``, in a process group of its own.

    Args:
        command: the script's path and its arguments.
        stdout, stderr: as Popen's: ``PIPE``, ``STDOUT`` or a file.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: str | Path,
        env: Mapping[str, str],
        stdout: int | IO[str] = subprocess.PIPE,
        stderr: int | IO[str] = subprocess.PIPE,
    ):
        self.returncode: int | None = None
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        passed = [os.open(os.devnull, os.O_RDONLY)]
        self.stdout, self.stderr = (self._stream(stream, passed) for stream in (stdout, stderr))
        request = {"command": [str(word) for word in command], "cwd": str(cwd), "env": dict(env)}
        with theirs:
            socket.send_fds(_server(), [json.dumps(request).encode()], [*passed, theirs.fileno()])
        for descriptor in passed:
            os.close(descriptor)
        self.pid = int(self._control.recv(99))

    @staticmethod
    def _stream(stream: int | IO[str], passed: list[int]) -> IO[str] | None:
        """Our end of a stream; the script's is added to those passed on."""
        if stream == subprocess.PIPE:
            ours, theirs = os.pipe()
            passed.append(theirs)
            return open(ours, encoding="utf-8")
        passed.append(os.dup(passed[-1] if stream == subprocess.STDOUT else stream.fileno()))
        return None

    def poll(self) -> int | None:
        with suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self) -> int:
        self._receive()
        assert self.returncode is not None
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """What is left on both streams, read at once, so that neither fills up."""
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(lambda stream: stream.read() if stream else "", (self.stdout, self.stderr))
        self.wait()
        return out, err

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        self.wait()
        self._control.close()

    def _receive(self, flags: int = 0) -> None:
        if self.returncode is None:
            self.returncode = int(self._control.recv(99, flags))


def main(requests: socket.socket, unfiltered: list) -> list[str]:
    """Import, then fork for each request; returns in a script's process alone: its command."""
    from camexp.cli import heavy_imports

    with heavy_imports():
        import camexp.commands.evaluate
        import camexp.commands.explore
        import camexp.commands.predict
        import camexp.commands.train
        import camexp.evaluation
        import camexp.explore
        import camexp.prediction
        import camexp.training  # noqa: F401
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        message, descriptors, *_ = socket.recv_fds(requests, LONGEST, 4)
        if not message:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            break
        for descriptor in descriptors:
            os.close(descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, control = descriptors
    child = os.fork()
    if child:
        for stream in streams:
            os.close(stream)
        _keep(child, socket.socket(fileno=control))
    os.setsid()
    with socket.socket(fileno=control) as told:
        told.send(str(os.getpid()).encode())
    return _become(json.loads(message), streams, unfiltered)


def _keep(child: int, control: socket.socket) -> None:
    def end_with_worker() -> None:
        control.recv(1)  # nothing is ever sent: it returns when the other end is closed
        for process in [child, *_descendants(child)]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    threading.Thread(target=end_with_worker, daemon=True).start()
    _, status = os.waitpid(child, 0)
    with suppress(OSError):
        control.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _descendants(process: int) -> list[int]:
    """Processes of a run on several devices have groups of their own, and may wait for each other for long."""
    found: list[int] = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for one in map(int, path.read_text().split()):
                found += [one, *_descendants(one)]
    return found


def _become(request: dict, streams: Sequence[int], unfiltered: list) -> list[str]:
    """Have what a new interpreter has from its caller and from chance."""
    import numpy as np
    import torch

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["env"])
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    folder = os.path.dirname(request["command"][0])
    sys.path[:] = [folder, *own, *(path for path in sys.path[1:] if path not in inherited)]
    by_libraries = warnings.filters[: -len(unfiltered) or None]  # libraries put theirs before the interpreter's own
    warnings.filters[:] = unfiltered  # type: ignore[index]
    if action := os.environ.get("PYTHONWARNINGS"):
        warnings.simplefilter(action)  # type: ignore[arg-type]
    warnings.filters[:0] = by_libraries  # type: ignore[index]
    random.seed()
    np.random.seed()
    torch.default_generator.seed()
    return request["command"]


def _skip_teardown(ended: list[int]) -> None:
    """The last of ``atexit``: to free a process's copies of all that was imported takes the interpreter 4 s."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # the interpreter knows what to say
    if ended[0] < 0:
        signal.signal(-ended[0], signal.SIG_DFL)
        signal.raise_signal(-ended[0])
    os._exit(ended[0])


if __name__ == "__main__":
    interpreters_own, ended = list(warnings.filters), [0]
    atexit.register(_skip_teardown, ended)
    sys.path[0] = os.path.dirname(sys.path[0])  # the folder of the scripts
    sys.argv[:] = main(socket.socket(fileno=int(sys.argv[1])), interpreters_own)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as stop:
        ended[0] = stop.code & 255 if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    except BaseException as error:
        ended[0] = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        raise
