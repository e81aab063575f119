"""`python -m striate`, as `torchrun -m striate` needs it."""

from __future__ import annotations

import sys

from striate.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
