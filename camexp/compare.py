"""Compare the runs of a sweep: ``python -m camexp.compare outputs/sweeps/DATE/TIME``."""

import sys

from camexp.cli.compare import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
