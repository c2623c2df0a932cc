"""``python -m benchmarks``: the figures; ``QUICK=1`` in the environment for less than five minutes."""

from __future__ import annotations

import sys

from benchmarks.run import main

sys.exit(main())
