"""What the scripts say: plain lines on the console, dated lines in the run's log.

The library speaks through loggers below ``camexp``, so it is silent in a program that did not ask for it;
the scripts' ``hydra/job_logging`` gives them a console and a file.
"""

from __future__ import annotations

import logging
import os
import sys


class ConsoleHandler(logging.Handler):
    """Prints, errors to stderr; looks up the streams each time, so that a live progress bar can step aside."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.ERROR and os.environ.get("LOCAL_RANK", "0") != "0":
            return  # of several training processes one speaks
        try:
            stream = sys.stderr if record.levelno >= logging.ERROR else sys.stdout
            # a file name need not fit the terminal's encoding
            encoding = stream.encoding or "utf-8"
            print(self.format(record).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
        except BrokenPipeError:  # `| head` has seen enough
            pass
        except Exception:
            self.handleError(record)
