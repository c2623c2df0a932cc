"""What the store can do: ``python -m benchmarks.store_costs [--url URL]``; SQLite in a folder of its own without one.

Writers come one after another, so that what a transaction takes is what there is: how many sign-ins a second the whole
service can have. Then what it costs to write down last uses, to read the feed of changes, and to look a session up.
``--url`` names a database of PostgreSQL that is *empty* and may be filled.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.crowd import ISSUER
from mtls_gateway.clock import SystemClock
from mtls_gateway.model import CertificateId, ChangeKind, Method, NewSession
from mtls_gateway.store.certificates import NewCertificate
from mtls_gateway.store.migration import migrate
from mtls_gateway.store.opening import Store, open_store
from mtls_gateway.store.users import NewUser

_ACTOR = "benchmark"
_USERS = 400
_AT_ONCE = 16
_CHANGES = 2_000
_READINGS = 20


def _user(place: int) -> str:
    return f"customer{place:06}"


def _certificate(place: int) -> CertificateId:
    return CertificateId(ISSUER, (1 << 120) + place)


def _digest(place: int) -> bytes:
    return hashlib.sha256(b"session %d" % place).digest()


async def _fill(store: Store) -> None:
    await store.companies.create("C1", "株式会社", "Benchmark Ltd.", actor=_ACTOR)
    await store.users.add([NewUser(_user(place), "C1") for place in range(_USERS)], actor=_ACTOR)
    ends = time.time() + 90 * 86_400
    registrations = [NewCertificate(_certificate(place), _user(place), ends) for place in range(_USERS)]
    await store.certificates.register(registrations, actor=_ACTOR)
    await store.companies.set_method("C1", Method.CERTIFICATE, actor=_ACTOR)


async def _sign_in(store: Store, place: int) -> None:
    """What a sign-in writes: the attempt, that it was right, the session; the bank's own answer comes in between."""
    await store.attempts.begin_attempt(_user(place), limit=5, suspension=900.0, suspensions=3)
    await store.attempts.attempt_was_right(_user(place))
    now = time.time()
    new = NewSession(_digest(place), _user(place), _certificate(place), now, now + 28_800, bytes(200))
    await store.sessions.open_session(new, idle=900.0)


async def _rate(count: int, at_once: int, one: Callable[[int], Awaitable[object]]) -> tuple[float, float]:
    """How many a second, and processor milliseconds of this process for each."""
    waiting = list(range(count))

    async def work() -> None:
        while waiting:
            await one(waiting.pop())

    began, used = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return count / (time.perf_counter() - began), (time.process_time() - used) / count * 1_000


async def _measure(url: str) -> dict[str, float]:
    await migrate(url, SystemClock())
    store = await open_store(url, SystemClock())
    try:
        await _fill(store)
        sign_ins, sign_in_ms = await _rate(_USERS, _AT_ONCE, lambda place: _sign_in(store, place))
        look_ups, look_up_ms = await _rate(_USERS, _AT_ONCE, lambda place: store.worker.session(_digest(place)))
        uses = {_digest(place): time.time() + 1 for place in range(_USERS)}
        began, used = time.perf_counter(), time.process_time()
        await store.sessions.note_use(uses)
        note_wall, note_cpu = time.perf_counter() - began, time.process_time() - used
        before = await store.worker.latest_change()
        for place in range(_CHANGES // 100):
            # In portions, as a busy hour writes them.
            await asyncio.gather(
                *(store.changes.announce(ChangeKind.SESSION, _digest(place * 100 + each).hex()) for each in range(100))
            )
        used = time.process_time()
        for _ in range(_READINGS):
            lines = await store.worker.changes_since(before)
        read_us = (time.process_time() - used) / _READINGS / len(lines) * 1e6
    finally:
        await store.close()
    return {
        "sign_ins_per_second": sign_ins,
        "sign_in_processor_ms": sign_in_ms,
        "session_look_ups_per_second": look_ups,
        "session_look_up_processor_ms": look_up_ms,
        "note_use_us_each": note_wall / _USERS * 1e6,
        "note_use_processor_us_each": note_cpu / _USERS * 1e6,
        "change_read_processor_us": read_us,
    }


def main() -> int:
    """Print the figures; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mtls-bench-") as folder:
        url = given.url or f"sqlite:///{Path(folder) / 'gateway.sqlite3'}"
        found = {name: round(figure, 2) for name, figure in asyncio.run(_measure(url)).items()}
    for name, figure in found.items():
        print(f"{name:<36}{figure:>12,.2f}")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
