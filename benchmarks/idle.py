"""What an idle, signed-in connection costs the proxy's processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence

from benchmarks.generator import Generator, Target
from benchmarks.machine import BenchmarkError, anonymous
from benchmarks.material import Held

#: What the first connections cost once and for all is not theirs alone: counted from so many upwards.
_FEW = 200


def idle_kilobytes(
    generator: Generator, target: Target, client: Held, headers: Sequence[str], connections: int
) -> float:
    """Kilobytes (1,024 octets) of the proxy's own memory per connection that has made one request and rests.

    Raises:
        BenchmarkError: not all of them could be opened, or some were closed meanwhile.
    """
    few = _held(generator, target, client, headers, _FEW)
    many = _held(generator, target, client, headers, _FEW + connections)
    return (many - few) / connections / 1024


def _held(generator: Generator, target: Target, client: Held, headers: Sequence[str], connections: int) -> int:
    command = generator.command("idle", target, client=client, connections=connections, headers=headers)
    child = subprocess.Popen(
        [*command, "--seconds", "60", "--warm", "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None and child.stdout is not None
    first = json.loads(child.stdout.readline() or "{}")
    used = anonymous(target.watched)
    child.stdin.close()
    rest = child.stdout.read()
    child.stdout.close()
    if child.wait() != 0 or first.get("event") != "ready":
        raise BenchmarkError(f"idle connections to {target.name}: {first} {rest}")
    return used
