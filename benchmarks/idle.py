"""What an idle, signed-in connection costs the proxy's processes.

Part of ``python -m benchmarks``; alone, and with more of them::

    python -m benchmarks.idle [--connections 10000]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence

from benchmarks.generator import Generator, Target
from benchmarks.machine import BenchmarkError, anonymous
from benchmarks.material import Held

#: What the first connections cost once and for all is not theirs alone: counted from so many upwards.
_FEW = 200


@contextlib.contextmanager
def held(
    generator: Generator, target: Target, client: Held, headers: Sequence[str], connections: int
) -> Iterator[None]:
    """So many connections that have each made one request and rest, while the context is open (at most ten minutes).

    Raises:
        BenchmarkError: not all of them could be opened, or some were closed meanwhile.
    """
    command = generator.command("idle", target, client=client, connections=connections, headers=headers)
    child = subprocess.Popen(
        [*command, "--seconds", "600", "--warm", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    try:
        first = json.loads(child.stdout.readline() or "{}")
        if first.get("event") == "ready":
            yield
    finally:
        child.stdin.close()
        rest = child.stdout.read()
        child.stdout.close()
        status = child.wait()
    if status != 0 or first.get("event") != "ready":
        raise BenchmarkError(f"idle connections to {target.name}: {first} {rest}")


def idle_kilobytes(
    generator: Generator, target: Target, client: Held, headers: Sequence[str], connections: int
) -> float:
    """Kilobytes (1,024 octets) of the proxy's own memory per connection that has made one request and rests.

    Raises:
        BenchmarkError: not all of them could be opened, or some were closed meanwhile.
    """
    used = []
    for count in (_FEW, _FEW + connections):
        with held(generator, target, client, headers, count):
            used.append(anonymous(target.watched))
    return (used[1] - used[0]) / connections / 1024


def main() -> int:
    """Nginx and the gateway in turn; the last line is the figures as JSON."""
    from benchmarks.contest import Contest, Plan
    from benchmarks.generator import backend
    from benchmarks.roster import GATEWAY, NGINX
    from benchmarks.run import workspace

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=10_000, help="at most 19,000; each side needs as many files")
    connections = parser.parse_args().connections
    try:
        with workspace() as build, backend(build) as (port, _):
            contest = Contest(build, Plan(False, 0, 0.0, connections, ()))
            contest.idle(port, (NGINX, GATEWAY))
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    print(json.dumps({"connections": connections, **contest.ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
