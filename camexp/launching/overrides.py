"""Values in Hydra's grammar of overrides."""

from __future__ import annotations

from hydra.core.override_parser.types import Quote, QuotedString


def quoted(value: object) -> str:
    """A value that Hydra reads as the text it is, whatever letters stand in it.

    >>> quoted("it's (1)"), quoted("plain")
    ("'it\\\\'s (1)'", "'plain'")
    """
    return QuotedString(str(value), Quote.single).with_quotes()
