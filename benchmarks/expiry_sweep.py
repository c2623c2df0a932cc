"""The daily sweep and our own CRL over many certificates: what they cost must not grow with those that need nothing.

::

    python -m benchmarks.expiry_sweep [--certificates 1000000]

Each row is a database and a process of its own, with as many certificates as it says, of which 1,000 get a notice and
as many have expired; ends are spread over a year. Memory is the whole process's at its peak, the interpreter and the
database's cache included.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from mtls_gateway.clock import ManualClock
from mtls_gateway.config import Notices
from mtls_gateway.issuance.expiry import Sweep
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store

#: 2027-01-15 17:00 in Japan.
NOW = 1_800_000_000.0
DAY = 86_400.0
DUE = 1_000
ISSUER = "CN=Issuing CA,O=Bank,C=JP"
_INSERT = (
    "INSERT INTO certificates (issuer, serial, user_id, state, not_after, registered, ended, reason, noticed) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _rows(count: int, revoked: int) -> Iterator[tuple[object, ...]]:
    """Certificates that need nothing now, then those that do, then those that a CRL lists."""
    for place in range(count):
        if place < DUE:
            end, noticed = NOW + 39.5 * DAY, None
        elif place < 2 * DUE:
            end, noticed = NOW - 60.0, 3
        else:
            left = 0.5 + 364.0 * place / count
            end = NOW + left * DAY
            noticed = None if left > 42 else 40 if left > 12 else 10 if left > 5 else 3
        yield ISSUER, f"7f{place:038x}", f"u{place}", "valid", float(int(end)), NOW - DAY, None, None, noticed
    for place in range(revoked):
        serial = f"{(place * 2_654_435_761) % 2**31 + 2**31:08x}{place:032x}"
        yield ISSUER, serial, f"u{place}", "revoked", NOW + DAY, NOW - DAY, NOW - 9.0, "keyCompromise", None


def make(file: Path, count: int, revoked: int) -> None:
    """A database of ``count`` users with a certificate each; every hundred are a company with an administrator."""
    asyncio.run(migrate(f"sqlite:///{file}", ManualClock(NOW)))
    database = sqlite3.connect(file)
    database.execute("PRAGMA synchronous = OFF")
    companies = range(count // 100 + 1)
    database.executemany(
        "INSERT INTO companies (id, name_ja, method, suspended) VALUES (?, '株式会社', 'certificate', 0)",
        ((f"c{place}",) for place in companies),
    )
    database.executemany(
        "INSERT INTO users (id, company_id, administrator, email, wrong_passwords, suspensions) "
        "VALUES (?, ?, ?, ?, 0, 0)",
        ((f"u{place}", f"c{place // 100}", place % 100 == 0, f"u{place}@x.example") for place in range(count)),
    )
    database.executemany(_INSERT, _rows(count, revoked))
    database.commit()
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def _timed(work: Callable[[], Awaitable[object]]) -> tuple[object, str, str]:
    """What it gave, its CPU time with all threads, and its time on the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = await work()
    return found, _seconds(time.process_time() - cpu), _seconds(time.perf_counter() - wall)


def _seconds(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms" if seconds < 0.1 else f"{seconds:.2f} s"


async def measure(file: Path) -> list[str]:
    """One row of the table."""
    clock = ManualClock(NOW)
    store = await open_store(f"sqlite:///{file}", clock)
    try:
        sweep = Sweep(store.expiry, Notices(), clock)
        given, *first = await _timed(sweep.run)
        _, *again = await _timed(sweep.run)
        listed, *listing = await _timed(lambda: _list(store))
        _, *counting = await _timed(lambda: store.crls.count(ISSUER, NOW - DAY))
    finally:
        await store.close()
    return [f"{given:,}", *first, again[0], f"{listed:,}", *listing, counting[0], f"{_peak():.0f} MiB"]


async def _list(store: Store) -> int:
    count = 0
    async for _ in store.crls.listed(ISSUER, NOW - DAY):
        count += 1
    return count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--certificates", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        print(" | ".join(asyncio.run(measure(given.measure))))
        return
    print("| certificates | notices given | CPU | wall | again | listed on a CRL | CPU | wall | counted | memory |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for count in given.certificates:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "gateway.sqlite3"
            make(file, count, count // 10)
            command = [sys.executable, "-m", "benchmarks.expiry_sweep", "--measure", str(file)]
            row = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"| {count:,} | {row} |", flush=True)


if __name__ == "__main__":
    main()
