"""Values in Hydra's grammar of overrides, and those of the command that runs."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString

ONE_RUN = "hydra.mode=RUN"  # for a process of a run or of a job: a configuration file may ask for a sweep


def quoted(value: object) -> str:
    """A value that Hydra reads as the text it is, whatever letters stand in it.

    >>> quoted("it's (1)"), quoted("plain")
    ("'it\\\\'s (1)'", "'plain'")
    """
    return QuotedString(str(value), Quote.single).with_quotes()


def command_line() -> tuple[list[str], dict[str, str | None]]:
    """The overrides of the command that runs, and the choice that each group came to; none where Hydra runs nothing.

    >>> overrides, choices = command_line()
    >>> type(overrides), type(choices)
    (<class 'list'>, <class 'dict'>)
    """
    if not HydraConfig.initialized():
        return [], {}
    hydra = HydraConfig.get()
    return list(hydra.overrides.task), dict(hydra.runtime.choices)
