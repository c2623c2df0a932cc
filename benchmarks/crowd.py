"""A database with as many users, certificates and sessions as a measurement wants: written straight into SQLite.

Through the gateway's own commands a million of them would take hours. What is written is what those commands would have
written, but for the audit log.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from mtls_gateway.clock import SystemClock
from mtls_gateway.model import CertificateId, print_serial
from mtls_gateway.store.migration import migrate

ISSUER = "CN=Crowd CA,O=Benchmark Bank,C=JP"
_DAY = 86_400.0
#: Users of one company.
_COMPANY = 20
_FIRST_SERIAL = 1 << 120


def certificate(place: int) -> CertificateId:
    """The certificate of the user at ``place``."""
    return CertificateId(ISSUER, _FIRST_SERIAL + place)


def digest(place: int) -> bytes:
    """The digest of the session of the user at ``place``."""
    return hashlib.sha256(b"session %d" % place).digest()


def _users(count: int) -> Iterator[tuple[object, ...]]:
    return ((f"crowd{place:08}", f"crowd{place // _COMPANY:07}") for place in range(count))


def _certificates(count: int, now: float) -> Iterator[tuple[object, ...]]:
    for place in range(count):
        serial = print_serial(_FIRST_SERIAL + place)
        yield ISSUER, serial, f"crowd{place:08}", now + 90 * _DAY, now


def _sessions(count: int, now: float) -> Iterator[tuple[object, ...]]:
    for place in range(count):
        serial = print_serial(_FIRST_SERIAL + place)
        yield digest(place), f"crowd{place:08}", ISSUER, serial, now, now, now + _DAY, b""


def write(file: Path, users: int, sessions: int) -> None:
    """Fill the database at ``file``, made with its tables where it is not there; ``sessions`` users are signed in."""
    asyncio.run(migrate(f"sqlite:///{file}", SystemClock()))
    database = sqlite3.connect(file)
    now = time.time()
    database.execute("PRAGMA synchronous = OFF")
    database.execute("PRAGMA cache_size = -200000")
    with database:
        database.executemany(
            "INSERT INTO companies (id, name_ja, method, suspended) VALUES (?, '株式会社', 'certificate', 0)",
            ((f"crowd{place:07}",) for place in range(users // _COMPANY + 1)),
        )
        database.executemany(
            "INSERT INTO users (id, company_id, administrator, wrong_passwords, suspensions) VALUES (?, ?, 0, 0, 0)",
            _users(users),
        )
        database.executemany(
            "INSERT INTO certificates (issuer, serial, user_id, state, not_after, registered) "
            "VALUES (?, ?, ?, 'valid', ?, ?)",
            _certificates(users, now),
        )
        database.executemany(
            "INSERT INTO sessions (digest, user_id, issuer, serial, state, opened, last_used, ends, legacy_cookies) "
            "VALUES (?, ?, ?, ?, 'live', ?, ?, ?, ?)",
            _sessions(sessions, now),
        )
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
