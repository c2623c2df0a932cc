"""``python -m mtls_gateway.demo``: what ``make demo`` and ``make demo-check`` run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mtls_gateway.demo.run import check_demo, run_demo
from mtls_gateway.errors import GatewayError


def main() -> int:
    """Exit status 0: as asked; 1: a case failed or the demo could not be started."""
    parser = argparse.ArgumentParser(
        prog="python -m mtls_gateway.demo", description="The gateway in front of a demo bank."
    )
    parser.add_argument("--check", action="store_true", help="walk every case on free ports, then end")
    parser.add_argument(
        "--directory", type=Path, default=Path("build/demo"), help="where everything is made (build/demo)"
    )
    parser.add_argument("--port", type=int, default=8443, help="of 127.0.0.1, for both hosts (8443)")
    parser.add_argument("--fresh", action="store_true", help="make certificates and database anew")
    words = parser.parse_args()
    try:
        if words.check:
            return 1 if check_demo() else 0
        run_demo(words.directory, words.port, fresh=words.fresh)
    except KeyboardInterrupt:
        return 1
    except GatewayError as error:
        print(f"mtls-gateway demo: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
