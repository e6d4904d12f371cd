"""Parts of a list of images that are worked on independently, by any number of processes and machines: shards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from camexp.devices import available_cores
from camexp.errors import UserError
from camexp.launching.overrides import ONE_RUN, quoted
from camexp.launching.processes import run_processes, same_command
from camexp.launching.ranks import CHILD

SHARDS = "shards"  # the folder with one folder a shard


@dataclass(frozen=True)
class Shard:
    """One of several shards; of one, everything.

    >>> Shard(3, 16).name
    '00003-of-00016'
    """

    number: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"{self.number:05d}-of-{self.count:05d}"

    def folder(self, output: Path) -> Path:
        """Where its own tables are: the output folder itself if it is the only one."""
        return output if self.count == 1 else output / SHARDS / self.name

    def rows(self, images: int, block: int) -> range:
        """Its images: as many whole blocks as any other's, or one more.

        Blocks are never divided: so batches, and with them the last digits of a result, are the same however many
        shards there are.

        Args:
            images: how many there are.
            block: images of a block.

        >>> [list(Shard(number, 2).rows(7, block=2)) for number in range(2)]
        [[0, 1, 2, 3], [4, 5, 6]]
        """
        blocks = -(-images // block)
        start, stop = (blocks * number // self.count for number in (self.number, self.number + 1))
        return range(min(start * block, images), min(stop * block, images))

    def all(self) -> list[Shard]:
        """It and the others.

        >>> [one.name for one in Shard(0, 2).all()]
        ['00000-of-00002', '00001-of-00002']
        """
        return [Shard(number, self.count) for number in range(self.count)]


def launch_shards(output: str, count: int, gpus: Sequence[int]) -> None:
    """Work on all shards at once, in a process each, on this machine.

    Args:
        output: the folder of all shards.
        count: how many there are.
        gpus: on which they are spread; none: they share the cores.

    Raises:
        UserError: one of them failed, and all have ended.
        SystemExit: they were interrupted.
    """
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")  # one of them speaks
    commands = [
        same_command(
            f"output={quoted(Path(output).absolute())}", f"shards={count}", f"shard={number}", ONE_RUN,
            *([f"gpus=[{gpus[number % len(gpus)]}]"] if gpus else []), *(quiet if number else ()),
            without=r"(output|shards|gpus)=",
        )
        for number in range(count)
    ]  # fmt: skip
    cores = str(max(1, available_cores() // count))
    ended = run_processes(commands, [{CHILD: "shard", "OMP_NUM_THREADS": cores} for _ in range(count)])
    if ended.code > 128:
        raise SystemExit(ended.code)
    if ended.code:
        raise UserError(ended.reason)


def shard_arguments(arguments: Sequence[str]) -> list[str]:
    """``-m shards=16`` as Hydra knows it: a job a shard, all in one folder, ``output``.

    >>> shard_arguments(["-m", "shards=2", "output=out"])
    ['-m', 'shards=2', 'hydra.sweep.dir=out', 'shard=range(2)', 'hydra.sweep.subdir=jobs/${hydra.job.num}']
    """
    counts = [match[1] for one in arguments if (match := re.fullmatch(r"shards=(\d+)", one))]
    multirun = any(one in ("-m", "--multirun") for one in arguments)
    if not multirun or not counts or any(one.startswith("shard=") for one in arguments):
        return list(arguments)
    moved = [re.sub(r"^output=", "hydra.sweep.dir=", one) for one in arguments]
    return [*moved, f"shard=range({counts[-1]})", "hydra.sweep.subdir=jobs/${hydra.job.num}"]
