"""``python -m camexp``: the same as ``camexp``."""

import sys

from camexp.commands import main

if __name__ == "__main__":
    sys.exit(main())
