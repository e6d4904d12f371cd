"""Texts in Hydra's grammar."""

from __future__ import annotations

import re


def quoted(text: object) -> str:
    """A text that Hydra reads as it is.

    >>> quoted("it's (1)"), quoted("plain")
    ("'it\\\\'s (1)'", "'plain'")
    """
    # in Hydra's quoted values a backslash is special only before a quote
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)$", r"\1\1", str(text))) + "'"
