"""What was intended and what was signed: written down before it is signed, and before it leaves the signer.

Append-only, in a file of the signer's own. It is SQLite rather than a text file because exactly what matters here is
what SQLite is tried in: a record is there whole or not at all whenever the machine stops, a serial can be given only
once because an index says so (also while an old and a new signer overlap), and one of a million is found at once.
Every record holds a digest over itself and its predecessor, and triggers forbid to change or remove one: who goes
around them breaks the chain, and the signer then does not start.

Not defended: who can write the file can replace all of it with an older or another chain. So the number of records
and the last digest are logged at start, and the number is a metric.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mtls_gateway.clock import Clock
from mtls_gateway.errors import GatewayError
from mtls_gateway.model import print_serial

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    sequence INTEGER PRIMARY KEY,
    at       REAL NOT NULL,
    kind     TEXT NOT NULL CHECK (kind IN ('intended', 'signed', 'crl_intended', 'crl_signed')),
    issuer   TEXT NOT NULL,   -- its name in the configuration
    number   TEXT NOT NULL,   -- serial in hexadecimal, or CRL number in decimal
    ordered  BLOB NOT NULL,   -- SHA-256 of the order
    content  BLOB NOT NULL,   -- TBSCertificate, then Certificate; CRLs: digest to be signed, then signature
    chain    BLOB NOT NULL    -- SHA-256 of the record before and this one
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS one_certificate ON records (number, kind) WHERE kind IN ('intended', 'signed');
CREATE UNIQUE INDEX IF NOT EXISTS one_crl ON records (issuer, number, kind)
    WHERE kind IN ('crl_intended', 'crl_signed');
CREATE INDEX IF NOT EXISTS last_crl ON records (issuer, kind, CAST(number AS INTEGER));
CREATE TRIGGER IF NOT EXISTS no_change BEFORE UPDATE ON records BEGIN SELECT RAISE(ABORT, 'append only'); END;
CREATE TRIGGER IF NOT EXISTS no_removal BEFORE DELETE ON records BEGIN SELECT RAISE(ABORT, 'append only'); END;
"""
_ADD = "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_ALL = "SELECT sequence, at, kind, issuer, number, ordered, content, chain FROM records ORDER BY sequence"
_BEGINNING = hashlib.sha256(b"mtls-gateway signer journal").digest()
_BUSY_SECONDS = 10.0


class JournalUnusable(GatewayError):
    """The journal cannot be read or written: nothing is signed."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record; ``at`` is POSIX seconds."""

    sequence: int
    at: float
    kind: str
    issuer: str
    number: str
    ordered: bytes
    content: bytes
    chain: bytes


@dataclass(frozen=True, slots=True)
class Intent:
    """A certificate about to be signed."""

    serial: int
    issuer: str
    #: SHA-256 of the order.
    ordered: bytes
    to_be_signed: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """What the journal has of a serial."""

    issuer: str
    ordered: bytes
    to_be_signed: bytes
    #: DER of the certificate; None: not signed yet.
    certificate: bytes | None


@dataclass(frozen=True, slots=True)
class CrlStanding:
    """The last CRL that was intended for an issuer."""

    number: int
    digest: bytes
    #: None: not signed yet.
    signature: bytes | None


class Journal:
    """The file; used by one thread at a time. Several processes may have it open."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the journal, make it where there is none, and go through every record.

        Raises:
            JournalUnusable: it cannot be opened, or was changed by somebody else than this class.
        """
        self._path = path
        self._clock = clock
        made = not path.exists()
        try:
            # Whatever the umask: the file, and with it the two that SQLite puts beside it, is nobody else's.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            self._connection = sqlite3.connect(
                path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"{path} cannot be opened: {error}") from error
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            # Every record is on the disk before anything that follows from it.
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            if made:
                _sync_directory(path.parent)
            self.records, self.head = self._check()
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # --- certificates ---------------------------------------------------------------------------

    def standing(self, serial: int) -> Standing | None:
        """What is written of a serial.

        Raises:
            JournalUnusable: it cannot be read.
        """
        query = "SELECT kind, issuer, ordered, content FROM records WHERE number = ? AND kind IN ('intended', 'signed')"
        try:
            rows = {row[0]: row for row in self._connection.execute(query, (print_serial(serial),))}
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if "intended" not in rows:
            return None
        _, issuer, ordered, to_be_signed = rows["intended"]
        return Standing(issuer, ordered, to_be_signed, rows["signed"][3] if "signed" in rows else None)

    def intend(self, intents: Sequence[Intent]) -> list[Standing]:
        """Write down what is about to be signed, all at once; where a serial was intended before, that stands.

        Raises:
            JournalUnusable: nothing was written.
        """
        rows = [("intended", one.issuer, print_serial(one.serial), one.ordered, one.to_be_signed) for one in intents]
        self._append(rows)
        return [self._standing(one.serial) for one in intents]

    def signed(self, finished: Sequence[tuple[Intent, bytes]]) -> list[bytes]:
        """Write down certificates; returns what may leave: where another signer was first, that one's.

        Raises:
            JournalUnusable: nothing was written.
        """
        rows = [("signed", one.issuer, print_serial(one.serial), one.ordered, made) for one, made in finished]
        self._append(rows)
        written = [self._standing(one.serial).certificate for one, _ in finished]
        return [certificate for certificate in written if certificate is not None]

    def intended_since(self, at: float) -> int:
        """How many certificates were intended after ``at``, POSIX seconds, and not in the future."""
        query = (
            "SELECT count(*) FROM records WHERE kind = 'intended' AND at > ? AND at <= ? AND sequence >"
            " (SELECT coalesce(max(sequence), 0) - 100000 FROM records)"
        )
        (count,) = self._connection.execute(query, (at, self._clock.now())).fetchone()
        return int(count)

    def _standing(self, serial: int) -> Standing:
        standing = self.standing(serial)
        if standing is None:
            raise JournalUnusable(f"{self._path} does not hold what was written to it")
        return standing

    # --- CRLs -----------------------------------------------------------------------------------

    def crl_standing(self, issuer: str) -> CrlStanding | None:
        """The last CRL of an issuer.

        Raises:
            JournalUnusable: it cannot be read.
        """
        query = (
            "SELECT number, content FROM records WHERE issuer = ? AND kind = ?"
            " ORDER BY CAST(number AS INTEGER) DESC LIMIT 1"
        )
        try:
            intended = self._connection.execute(query, (issuer, "crl_intended")).fetchone()
            signed = self._connection.execute(query, (issuer, "crl_signed")).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if intended is None:
            return None
        signature = signed[1] if signed is not None and signed[0] == intended[0] else None
        return CrlStanding(int(intended[0]), intended[1], signature)

    def intend_crl(self, issuer: str, number: int, digest: bytes) -> CrlStanding:
        """Write down a CRL that is about to be signed, unless that number was intended before.

        Raises:
            JournalUnusable: nothing was written.
        """
        self._append([("crl_intended", issuer, str(number), digest, digest)])
        return self._crl_standing(issuer)

    def crl_signed(self, issuer: str, number: int, digest: bytes, signature: bytes) -> CrlStanding:
        """Write down a CRL's signature, unless another signer was first.

        Raises:
            JournalUnusable: nothing was written.
        """
        self._append([("crl_signed", issuer, str(number), digest, signature)])
        return self._crl_standing(issuer)

    def _crl_standing(self, issuer: str) -> CrlStanding:
        standing = self.crl_standing(issuer)
        if standing is None:
            raise JournalUnusable(f"{self._path} does not hold what was written to it")
        return standing

    # --- the chain ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Record]:
        """Every record, in order."""
        for row in self._connection.execute(_ALL):
            yield Record(*row)

    def _check(self) -> tuple[int, bytes]:
        """Go through the chain; how many records there are, and the last one's digest."""
        count, chain = 0, _BEGINNING
        for sequence, *fields, written in self._connection.execute(_ALL):
            count += 1
            chain = _next(chain, sequence, *fields)
            if sequence != count or written != chain:
                raise JournalUnusable(
                    f"{self._path}: record {count} is not what was written; restore the journal from a backup, and"
                    " find out who changed it before anything is signed"
                )
        return count, chain

    def _append(self, rows: Sequence[tuple[str, str, str, bytes, bytes]]) -> None:
        """Add those that are not there yet, in one transaction."""
        execute = self._connection.execute
        try:
            execute("BEGIN IMMEDIATE")
            try:
                last = execute("SELECT sequence, chain FROM records ORDER BY sequence DESC LIMIT 1").fetchone()
                sequence, chain = (0, _BEGINNING) if last is None else last
                at = self._clock.now()
                for row in rows:
                    following = _next(chain, sequence + 1, at, *row)
                    added = execute(_ADD, (sequence + 1, at, *row, following)).rowcount
                    if added:
                        sequence, chain = sequence + 1, following
                execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        self.records, self.head = sequence, chain

    def _unusable(self, error: sqlite3.Error) -> JournalUnusable:
        return JournalUnusable(f"{self._path} cannot be used: {error}")


def _next(
    chain: bytes, sequence: int, at: float, kind: str, issuer: str, number: str, ordered: bytes, content: bytes
) -> bytes:
    head = f"{sequence}\n{at!r}\n{kind}\n{issuer}\n{number}\n{len(ordered)} {len(content)}\n".encode()
    return hashlib.sha256(b"".join((chain, head, ordered, content))).digest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
