"""A million registered certificates: what they cost at the start, in memory, and for each look-up.

::

    python -m benchmarks.many_certificates [--certificates 1000 1000000]

Each row is a database of its own, filled as fast as SQLite takes it, and a gateway that is started on it as it is
by operators: one worker, portal and clerk. The start ends with the first answer to somebody signed in. Memory is that
of all processes, anonymous; the page cache of the database is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import gateway
from benchmarks.expiry_sweep import ISSUER, make
from benchmarks.generator import backend
from benchmarks.machine import BenchmarkError, anonymous
from benchmarks.material import Material
from mtls_gateway.clock import SystemClock
from mtls_gateway.model import CertificateId
from mtls_gateway.store.opening import Store, open_store

_USER = "bench001"
_LOOK_UPS = 1_000
_HEADING = ("certificates", "filled in", "on disk", "start", "memory", "look-up, median and p99", "census")


async def _look_ups(store: Store, count: int) -> list[float]:
    """Seconds for the registration of each of some, chosen by chance: what the first request of a visitor asks."""
    chance = random.Random(count)
    taken = []
    for _ in range(_LOOK_UPS):
        serial = int(f"7f{chance.randrange(count):038x}", 16)
        began = time.perf_counter()
        found = await store.worker.registration(CertificateId(ISSUER, serial))
        taken.append(time.perf_counter() - began)
        if found is None:
            raise BenchmarkError(f"certificate {serial:x} is not there")
    return sorted(taken)


async def _asked(url: str, count: int) -> tuple[list[float], float]:
    store = await open_store(url, SystemClock())
    try:
        taken = await _look_ups(store, count)
        began = time.perf_counter()
        await store.census.take()
        return taken, time.perf_counter() - began
    finally:
        await store.close()


def measure(build: Path, material: Material, port: int, count: int) -> list[str]:
    """One row of the table."""
    filled = 0.0

    def fill(database: Path) -> None:
        nonlocal filled
        began = time.perf_counter()
        make(database, count, 0)
        filled = time.perf_counter() - began

    users = {_USER: material.client(_USER)}
    with gateway.running("gateway", build / f"certificates-{count}", material, port, users, prefill=fill) as running:
        database = running.configuration.state / "gateway.sqlite3"
        octets = database.stat().st_size
        taken, census = asyncio.run(_asked(running.configuration.database_url, count))
        memory = anonymous(running.target.watched)
    return [
        f"{count:,}",
        f"{filled:.1f} s",
        f"{octets / 2**20:,.0f} MiB",
        f"{running.start_seconds:.1f} s",
        f"{memory / 2**20:.0f} MiB",
        f"{taken[len(taken) // 2] * 1e3:.2f} and {taken[int(len(taken) * 0.99)] * 1e3:.2f} ms",
        f"{census:.2f} s",
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, nargs="*", default=[1_000, 1_000_000])
    print("| " + " | ".join(_HEADING) + " |")
    print("|" + "---|" * len(_HEADING))
    try:
        with contextlib.ExitStack() as stack:
            # A short path: there are sockets in it.
            build = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mtls-bench-")))
            port, _ = stack.enter_context(backend(build))
            material = Material(build / "material")
            for count in parser.parse_args().certificates:
                print("| " + " | ".join(measure(build, material, port, count)) + " |", flush=True)
    except (BenchmarkError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
