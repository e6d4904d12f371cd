"""The commands of ``camexp``: a line each. Light on purpose: ``--version`` and ``--help`` wait for no library."""

from camexp.commands.table import COMMANDS, Command, main

__all__ = ["COMMANDS", "Command", "main"]
