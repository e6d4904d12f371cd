"""See and clear the stored features: ``python -m camexp.features`` and ``python -m camexp.features clear``."""

import sys

from camexp.cli.features import main

if __name__ == "__main__":
    sys.exit(main())
