"""What a worker's look-ups cost by how much there is: ``python -m benchmarks.look_ups [SIZE ...]``; 1 to 1,000,000.

Processor time in this process, without a network: a registration and a session that the worker does not know yet, read
from a database of that size; one that it knows, and one that puts another out of its memory of 50,000; the place of a
path by the number of rules.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from benchmarks import crowd
from mtls_gateway.clock import SystemClock
from mtls_gateway.config import Sessions as Settings
from mtls_gateway.model import CertificateId, Method, SessionRow, SessionState, User
from mtls_gateway.signin.cookie_names import CookieNames
from mtls_gateway.signin.guard import Guard
from mtls_gateway.signin.identity import Identities
from mtls_gateway.signin.session import Sessions
from mtls_gateway.store.opening import open_store

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
RULES = (1, 10, 100, 1_000)
#: Each figure is the best of so many passes, each of at most so many look-ups.
_PASSES = 5
_LOOK_UPS = 200
_NAMES = CookieNames(["JSESSIONID"], "__Host-ib-session")


async def _microseconds(look_up: Callable[[int], Awaitable[object]], places: list[int]) -> float:
    """Processor microseconds of one, all threads counted: the database's has a thread of its own."""
    portion = max(1, len(places) // _PASSES)
    best = float("inf")
    for start in range(0, portion * _PASSES, portion):
        began = time.process_time_ns()
        for place in places[start : start + portion]:
            await look_up(place)
        best = min(best, (time.process_time_ns() - began) / portion / 1_000)
    return best


async def _from_the_store(file: Path, size: int) -> dict[str, float]:
    store = await open_store(f"sqlite:///{file}", SystemClock())
    try:
        identities = Identities(store.worker)
        sessions = Sessions(store.worker, Settings(), _NAMES)
        source = random.Random(size)
        places = [source.randrange(size) for _ in range(_PASSES * _LOOK_UPS)]
        for look_up in (identities.look_up(crowd.certificate(0)), sessions.look_up(crowd.digest(0))):
            await look_up
        found = {
            "registration": await _microseconds(lambda at: identities.look_up(crowd.certificate(at)), places),
            "session": await _microseconds(lambda at: sessions.look_up(crowd.digest(at)), places),
        }
        if sessions.get(crowd.digest(places[0])) is None or identities.get(crowd.certificate(places[0])) is None:
            raise SystemExit("what was looked up is not known: the figures would be of something else")
    finally:
        await store.close()
    return found


def from_the_store(sizes: tuple[int, ...] = SIZES) -> dict[int, dict[str, float]]:
    """Microseconds by the number of users and sessions in the database."""
    found = {}
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="mtls-bench-") as folder:
            file = Path(folder) / "gateway.sqlite3"
            crowd.write(file, size, size)
            found[size] = asyncio.run(_from_the_store(file, size))
    return found


class _Rows:
    """Satisfies ``SessionRows`` at no cost, so that what is measured is the worker's memory and not the store's."""

    async def session(self, digest: bytes) -> SessionRow | None:
        place = int.from_bytes(digest[:8], "big")
        user = User(f"user{place}", f"company{place // 20}", False, None, False, Method.CERTIFICATE, None, False, True)
        certificate = CertificateId(crowd.ISSUER, place)
        return SessionRow(digest, SessionState.LIVE, user, certificate, 0.0, 0.0, 1e12)

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        return None


async def _remembered(size: int) -> dict[str, float]:
    sessions = Sessions(_Rows(), Settings(), _NAMES)
    digests = [place.to_bytes(8, "big") + bytes(24) for place in range(size)]

    async def one(place: int) -> None:
        """What a request does: what is known is taken, what is not is looked up and puts another one out."""
        digest = digests[place]
        if sessions.get(digest) is None:
            await sessions.look_up(digest)

    for place in range(min(size, 60_000)):
        await one(place)
    source = random.Random(size)
    known = list(range(max(0, min(size, 60_000) - 40_000), min(size, 60_000)))
    hits = [source.choice(known) for _ in range(_PASSES * 20_000)]
    hit = await _microseconds(one, hits)
    # Everybody in turn: the worst that there is for a memory that puts out who was asked for longest ago.
    turn = [place % size for place in range(60_000, 60_000 + _PASSES * 10_000)]
    return {"known": hit, "in turn": await _microseconds(one, turn)}


def remembered(sizes: tuple[int, ...] = SIZES) -> dict[int, dict[str, float]]:
    """Microseconds by the number of sessions in use at one worker, whose memory holds 50,000; without the store."""
    return {size: asyncio.run(_remembered(size)) for size in sizes}


def _places(rules: int) -> dict[str, float]:
    patterns = [f"/function{number}/**" for number in range(rules)]
    guard = Guard([f"/login{number}" for number in range(rules)], public=patterns)
    known = b"/menu/accounts/balance?page=1"
    guard.place_of(known)

    def timed(targets: list[bytes]) -> float:
        best = float("inf")
        portion = len(targets) // _PASSES
        for start in range(0, len(targets), portion):
            began = time.process_time_ns()
            for target in targets[start : start + portion]:
                guard.place_of(target)
            best = min(best, (time.process_time_ns() - began) / portion / 1_000)
        return best

    return {
        "known": timed([known] * 50_000),
        "new": timed([b"/menu/accounts/%d" % number for number in range(2_000)]),
    }


def places(rules: tuple[int, ...] = RULES) -> dict[int, dict[str, float]]:
    """Microseconds for a path that was met before and for one that was not, by the number of rules of each kind."""
    return {count: _places(count) for count in rules}


def main() -> None:
    """Print the figures; the last line is JSON."""
    sizes = tuple(int(word) for word in sys.argv[1:]) or SIZES
    found = {"from the store": from_the_store(sizes), "remembered": remembered(sizes), "rules": places()}
    for title, figures in found.items():
        print(title)
        for size, row in figures.items():
            print(f"{size:>12,}  " + "   ".join(f"{name} {value:,.2f} us" for name, value in row.items()))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
