"""The kinds of error that are told in a sentence: the user's to mend, and a stop that was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A wrong option, file or data set, said in one sentence.

    The sentence names the option, what came, what was expected and the way out; the scripts print it
    alone and end with exit code 1 (``debug=true`` shows the traceback too).
    """


class Interrupted(Exception):
    """A run that stopped because it was asked to, with all it did saved.

    Attributes:
        signum: the signal; the exit code is 128 more, as shells have it.
    """

    def __init__(self, message: str, signum: int):
        super().__init__(message)
        self.signum = signum


def nearest(word: str, known: Iterable[str], n: int = 3) -> str:
    """The ``n`` known names most like ``word``, for the end of an error's sentence.

    >>> nearest("lama", ["llama", "dolphin", "duck"])
    'did you mean llama?'
    >>> nearest("xyz", ["llama", "duck"])
    'known: llama, duck'
    """
    known = list(known)
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=n, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(by_lower[name] for name in close) + "?"
    return "known: " + ", ".join(known[:20]) + (f" … ({len(known)} in all)" if len(known) > 20 else "")


def reason(error: BaseException) -> str:
    """Another library's error in the room of a clause: its first line, shortened, or else its kind.

    >>> reason(ValueError("no good\\nsee below")), reason(EOFError())
    ('no good', 'EOFError')
    """
    lines = str(error).strip().splitlines()
    return lines[0][:150] if lines else type(error).__name__
