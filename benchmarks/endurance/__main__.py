"""``python -m benchmarks.endurance [changes|kills] [SIZE]``: both in full, or one; SIZE: requests, or seconds."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.endurance import changes, kills


def main() -> int:
    """Run; the exit status is 1 when a promise was broken."""
    which = sys.argv[1:2]
    size = int(sys.argv[2]) if len(sys.argv) > 2 else None
    good = True
    with tempfile.TemporaryDirectory(prefix="mtls-gateway-endurance-") as folder:
        if which != ["kills"]:
            good &= changes.run(Path(folder) / "changes", size or changes.REQUESTS)
        if which != ["changes"]:
            good &= kills.run(Path(folder) / "kills", float(size or kills.SECONDS))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
