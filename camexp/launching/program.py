"""How the user called this program: to start it again as a process, and to name commands in their own spelling."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from camexp.files import display_path

# In the environment, for a launcher's worker cannot know it otherwise: what was called, and for which command.
PATH, COMMAND = "CAMEXP_PROGRAM", "CAMEXP_COMMAND"


@dataclass(frozen=True)
class Program:
    """A command and what it was called by: ``train.py``, ``camexp``, ``camexp-train`` or ``python -m camexp``.

    Attributes:
        path: ``sys.argv[0]``, absolute.
        command: ``train``, ``predict`` …
    """

    path: Path
    command: str

    def start(self) -> list[str]:
        """What starts the same command again, up to its arguments.

        >>> Program(Path("/bin/camexp"), "train").start()[1:]
        ['/bin/camexp', 'train']
        """
        words = {"camexp": [str(self.path), self.command], "-m camexp": ["-m", "camexp", self.command]}
        return [sys.executable, *words.get(self._kind, [str(self.path)])]

    def spelled(self, command: str | None = None) -> str:
        """A command as this user would type it.

        >>> for path in ("/bin/camexp", "/bin/camexp-train", "/site/camexp/__main__.py", "/clone/train.py"):
        ...     Program(Path(path), "train").spelled("predict")
        'camexp predict'
        'camexp-predict'
        'python -m camexp predict'
        'python /clone/predict.py'
        """
        command = command or self.command
        if self._kind == "script":
            return f"python {shlex.quote(display_path(self.path.with_name(f'{command}.py')))}"
        return {"-m camexp": f"python -m camexp {command}", "camexp-": f"camexp-{command}"}.get(
            self._kind, f"camexp {command}"
        )

    def short(self, command: str | None = None) -> str:
        """The same for a help text, in which a script's folder says nothing.

        >>> Program(Path("/clone/train.py"), "train").short("predict")
        'python predict.py'
        """
        return f"python {command or self.command}.py" if self._kind == "script" else self.spelled(command)

    @property
    def _kind(self) -> str:
        """``script``, ``camexp``, ``camexp-``, ``-m camexp``, or ``other``: a program that calls a command's main."""
        name = self.path.name.removesuffix(".exe")
        if name == f"{self.command}.py":
            return "script"
        if name == "__main__.py" and self.path.parent.name == "camexp":
            return "-m camexp"
        return {"camexp": "camexp", f"camexp-{self.command}": "camexp-"}.get(name, "other")


def enter(command: str) -> None:
    """Remember what this process was called by; its own processes and workers know it too."""
    os.environ[PATH], os.environ[COMMAND] = os.path.abspath(sys.argv[0]), command


def current() -> Program:
    """What was entered last; where camexp is used as a library, ``python -m camexp train``."""
    default = str(Path(__file__).parents[1] / "__main__.py")
    return Program(Path(os.environ.get(PATH, default)), os.environ.get(COMMAND, "train"))
