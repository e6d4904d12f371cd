"""Join the shards of a prediction: ``python -m camexp.gather DIR``."""

import sys

from camexp.cli.gather import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
