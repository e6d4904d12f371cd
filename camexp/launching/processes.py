"""Processes of this very program, started, watched, and stopped together.

Not torchrun's elastic agent, though in its words (``RANK``, ``MASTER_PORT`` …): it reports an error as a page of log,
not as the sentence that caused it, by default hands on no SIGUSR1, and a sweep's jobs need the same care. A run that
torchrun or SLURM started is taken as it is (:mod:`camexp.launching.ranks`).
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

from camexp.errors import UserError
from camexp.launching import program
from camexp.launching.ranks import CHILD, nodes

GRACE = 10.0  # seconds for the others to end by themselves once one has failed
PARENT = "CAMEXP_PARENT"
# Ctrl-C; what schedulers and containers send before they kill; SLURM's --signal; submitit's warning
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


@dataclass
class ProcessResult:
    """How processes that belong together ended.

    Attributes:
        code: 0 if all of them did well; 128 more than a signal that stopped them.
        reason: what went wrong, as one sentence.
        signum: the signal that came in the meantime, whatever they made of it; or 0.
    """

    code: int
    reason: str = ""
    signum: int = 0


@dataclass
class _Process:
    process: subprocess.Popen[bytes]
    name: str
    lines: list[tuple[float, str]] = field(default_factory=list)
    ended: float | None = None
    given_up: bool = False  # it was killed here, for what another one did
    signals: int = 0  # how many were handed on to it

    def failure(self) -> tuple[int, float, str] | None:
        """How little of a cause it is, when it was, and what was said; ``None`` if it did well.

        A clear sentence comes before a killed process, and that before an exception, which may only tell that
        the connection to the others is lost.
        """
        code = self.process.returncode
        if not code or self.given_up:
            return None
        for when, line in self.lines:
            if line.startswith("error: "):
                return 2 * ("debug=true" in line), when, line.removeprefix("error: ")
        if code < 0:
            how = f"{self.name} was killed by {signal.Signals(-code).name}"
            return 1, self.ended or 0.0, how + (": out of memory?" if code == -signal.SIGKILL else "")
        last = self.lines[-1][1] if self.lines else "it said nothing"
        return 2, self.ended or 0.0, f"{self.name} ended with code {code} ({last})"


def run_processes(
    commands: Sequence[Sequence[str]],
    environments: Sequence[Mapping[str, str]],
    silent: bool = False,
    must_stop: Callable[[], bool] = lambda: False,
) -> ProcessResult:
    """Run processes to their end: if one fails all end, with one reason; signals go to all of them.

    Args:
        commands: of each process.
        environments: what each one's environment has more.
        silent: keep what they print to themselves.
        must_stop: asked all the while; its yes is as a SIGTERM.

    >>> run_processes([[sys.executable, "-c", "import sys; sys.exit('error: too bad')"]], [{}])
    ProcessResult(code=1, reason='too bad', signum=0)
    """
    watched: list[_Process] = []
    stopped: list[int] = []

    def hand_on() -> None:
        for one in watched:
            while one.signals < len(stopped):  # counted first: a signal that comes meanwhile is handed on in between
                one.signals += 1
                if one.process.poll() is None:
                    one.process.send_signal(stopped[one.signals - 1])

    def forward(signum: int, frame: object) -> None:
        stopped.append(signum)
        hand_on()

    def ask() -> None:
        if not stopped and must_stop():
            forward(signal.SIGTERM, None)

    main = threading.current_thread() is threading.main_thread()
    before = {one: signal.signal(one, forward) for one in SIGNALS} if main else {}
    readers = []
    try:
        for number, (command, environment) in enumerate(zip(commands, environments, strict=True)):
            name = f"process {number} of {len(commands)}" if len(commands) > 1 else "the process"
            process = subprocess.Popen(
                list(command),
                env={**os.environ, PARENT: str(os.getpid()), **environment},
                stdout=subprocess.DEVNULL if silent else None,
                stderr=subprocess.PIPE,
                start_new_session=True,  # a Ctrl-C in the terminal comes here, and is forwarded once
            )
            one = _Process(process, name)
            watched.append(one)
            hand_on()  # what came while it was being started
            assert process.stderr is not None
            echo = number == 0 and not silent
            readers.append(threading.Thread(target=_read, args=(process.stderr, one.lines, echo), daemon=True))
            readers[-1].start()
        _wait(watched, stopped, ask)
    finally:
        for one in watched:
            if one.process.poll() is None:
                one.given_up = True
                one.process.kill()
                one.process.wait()
        for signum, handler in before.items():
            signal.signal(signum, handler)
    for reader in readers:
        reader.join(GRACE)
    codes = [one.process.returncode for one in watched if not one.given_up]
    if stopped:
        signum, handler = stopped[0], before.get(stopped[0])
        if callable(handler) and handler is not signal.default_int_handler:
            handler(signum, None)  # a cluster's launcher, which queues the job again
        if _stop_codes(stopped).issuperset(codes):
            finished = codes.count(0) == len(watched)  # before the signal came to them
            reason = f"stopped by {signal.Signals(signum).name}"
            return ProcessResult(0 if finished else 128 + signum, reason, signum)
    failures = sorted(failure for one in watched if (failure := one.failure()) is not None)
    signum = stopped[0] if stopped else 0
    return ProcessResult(1, failures[0][2], signum) if failures else ProcessResult(0, "", signum)


@contextmanager
def rank_environments(count: int) -> Iterator[list[dict[str, str]]]:
    """The environment variables by which the DDP processes of this machine find each other, as torchrun sets them.

    As torchrun does, this process keeps the store in which they meet, until the block ends: so the port is in use from
    the moment it is chosen, and nobody else can take it. Where the user gives ``MASTER_PORT``, as several nodes need
    it, the first of them keeps the store there.

    Raises:
        UserError: several nodes, and no port to meet at.
    """
    machines, node = nodes()
    if machines > 1 and "MASTER_PORT" not in os.environ:
        raise UserError(f"NNODES={machines} needs MASTER_ADDR and MASTER_PORT, the same on all nodes: set both of them")
    if "MASTER_PORT" in os.environ:
        meeting = {key: os.environ.get(key, "127.0.0.1") for key in ("MASTER_ADDR", "MASTER_PORT")}
    else:
        from torch.distributed import TCPStore

        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # as long as this variable lives
        meeting = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(store.port),
            "TORCHELASTIC_USE_AGENT_STORE": "True",
            "TORCHELASTIC_RESTART_COUNT": "0",
        }
    shared = {
        CHILD: "rank",
        "WORLD_SIZE": str(machines * count),
        "LOCAL_WORLD_SIZE": str(count),
        "GROUP_RANK": str(node),
        "TORCHELASTIC_RUN_ID": "camexp",  # by this Lightning knows that the processes are there already
        **meeting,
    }
    yield [{**shared, "RANK": str(node * count + rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def same_command(*arguments: str, without: str = "") -> list[str]:
    """This program again, with its own arguments and more.

    Args:
        arguments: what to add.
        without: arguments that match this pattern are left out.
    """
    kept = [one for one in sys.argv[1:] if not (without and re.match(without, one))]
    return [*program.current().start(), *kept, *arguments]


def end_with_parent() -> None:
    """In a process that :func:`run_processes` started: be interrupted when that one dies (on Linux)."""
    parent = os.environ.pop(PARENT, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):  # it died in between
        os.kill(os.getpid(), signal.SIGTERM)


def _stop_codes(stopped: Sequence[int]) -> set[int]:
    """The codes with which processes end that these signals stopped."""
    return {0, *(128 + signum for signum in stopped), *(-signum for signum in stopped)}


def _wait(watched: Sequence[_Process], stopped: Sequence[int], ask: Callable[[], None]) -> None:
    """Until all have ended; not much longer, once one of them has failed. Those that are saving are waited for."""
    deadline = float("inf")
    while None in [one.process.poll() for one in watched]:
        now = time.monotonic()
        for one in watched:
            if one.process.returncode is not None and one.ended is None:
                one.ended = now
                if one.process.returncode not in _stop_codes(stopped):
                    deadline = min(deadline, now + GRACE)
        if now > deadline:
            return
        ask()
        time.sleep(0.05)
    for one in watched:
        one.ended = one.ended or time.monotonic()


def _read(stream: BinaryIO, lines: list[tuple[float, str]], echo: bool) -> None:
    with stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.strip():
                lines.append((time.monotonic(), line))
                del lines[:-200]
            if echo and not line.startswith("error: "):  # that one is told once all have ended
                print(line, file=sys.stderr, flush=True)
