"""The audit log: who did what to whom, when. Lines are appended, never changed, and chained (clause E.3).

Each line carries an HMAC over itself and the line before, under a key that is not in the database; the head row
carries one over the last. Whoever changes, removes, inserts or reorders lines without the key, or cuts off the end, is
found by :meth:`Audit.verify`. Somebody who puts a whole older database back is not: for that the head is written
elsewhere now and then, see ``mtls-gateway audit head``.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.model import Fact
from mtls_gateway.store.engine import AUDIT_KEY, Database
from mtls_gateway.store.schema import audit, audit_head

Detail = Fact

#: The actor of what the gateway does by itself, e.g. suspending a user for wrong passwords.
GATEWAY = "gateway"
_PORTION = 1_000


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log; ``at`` is POSIX seconds."""

    sequence: int
    at: float
    actor: str
    action: str
    subject: str
    details: Mapping[str, Detail]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log: what is to be written elsewhere, so that a log put back whole shows."""

    sequence: int
    #: Of the last line; empty: the chain has not begun.
    chain: bytes


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of verifying the log."""

    #: Lines whose chain holds.
    lines: int
    #: Lines from before the chain began: nothing can be said of them.
    unchained: int
    #: Each thing that is wrong, one line; empty: nothing.
    faults: tuple[str, ...]


async def record(
    connection: AsyncConnection, at: float, actor: str, action: str, subject: str, **details: Detail
) -> None:
    """Append a line in the transaction of what it tells of."""
    await record_each(connection, at, actor, action, [(subject, dict(details))])


async def record_each(
    connection: AsyncConnection, at: float, actor: str, action: str, subjects: Sequence[tuple[str, dict[str, Detail]]]
) -> None:
    """Append a line for each (subject, details) of one deed that had many."""
    if not subjects:
        return
    key = await _key(connection)
    head = (await connection.execute(select(audit_head).with_for_update())).one()
    sequence, chain = head.sequence, head.chain
    rows = []
    for subject, details in subjects:
        sequence += 1
        line = AuditLine(sequence, at, actor, action, subject, details)
        chain = _link(key, chain, line)
        rows.append(
            {
                "sequence": sequence,
                "at": at,
                "actor": actor,
                "action": action,
                "subject": subject,
                "details": details,
                "chain": chain,
            }
        )
    await connection.execute(insert(audit), rows)
    await connection.execute(update(audit_head).values(sequence=sequence, chain=chain, tag=_tag(key, sequence, chain)))


async def _key(connection: AsyncConnection) -> bytes:
    key = (await connection.run_sync(lambda there: there.connection.info)).get(AUDIT_KEY)
    if not isinstance(key, bytes):
        raise TypeError("the database was opened without the key of the audit log")
    return key


def _link(key: bytes, before: bytes, line: AuditLine) -> bytes:
    said = [line.sequence, line.at, line.actor, line.action, line.subject, dict(line.details)]
    octets = json.dumps(said, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii")
    return hmac.digest(key, b"line" + before + octets, "sha256")


def _tag(key: bytes, sequence: int, chain: bytes) -> bytes:
    return hmac.digest(key, b"head" + sequence.to_bytes(8, "big") + chain, "sha256")


class Audit:
    """Reading the log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lines(self, *, after: int = 0, limit: int = 1_000) -> Sequence[AuditLine]:
        """Lines after ``after``, oldest first.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        query = (
            select(audit.c.sequence, audit.c.at, audit.c.actor, audit.c.action, audit.c.subject, audit.c.details)
            .where(audit.c.sequence > after)
            .order_by(audit.c.sequence)
            .limit(limit)
        )
        async with self._database.reading("read the audit log") as connection:
            return [AuditLine(*row) for row in await connection.execute(query)]

    async def head(self) -> Head:
        """The end of the log.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._database.reading("read the head of the audit log") as connection:
            row = (await connection.execute(select(audit_head))).one()
        return Head(row.sequence, row.chain)

    async def verify(self, *, since: Head | None = None, most: int = 100) -> Verified:
        """Hold every line against the chain, and the end against the head.

        Args:
            since: a head that was written elsewhere: the log must go on from it.
            most: faults that are told; more are not looked for.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        key = self._database.audit_key
        faults: list[str] = []
        async with self._database.reading("verify the audit log") as connection:
            head = (await connection.execute(select(audit_head))).one()
        expected = 1
        before = b""
        lines = unchained = 0
        async for line, chain in self._each(head.sequence):
            if len(faults) >= most:
                break
            if line.sequence != expected:
                faults.append(_missing(expected, line.sequence - 1))
            expected = line.sequence + 1
            if chain is None and not before and lines == 0:
                unchained += 1
                continue
            if hmac.compare_digest(_link(key, before, line), chain or b""):
                lines += 1
            else:
                faults.append(f"line {line.sequence} does not follow from the line before it: one of them was changed")
            before = chain or b""
            if since is not None and line.sequence == since.sequence and before != since.chain:
                faults.append(f"line {line.sequence} is not the one whose chain was written down")
        if len(faults) < most:
            if expected <= head.sequence:
                faults.append(_missing(expected, head.sequence))
            elif not hmac.compare_digest(head.chain, before):
                faults.append(f"the head is not that of line {head.sequence}")
            if not hmac.compare_digest(head.tag, _tag(key, head.sequence, head.chain)) and (lines or head.chain):
                faults.append("the head was changed: lines may have been cut off")
            if since is not None and since.sequence > head.sequence:
                faults.append(f"the log ends at line {head.sequence}, but line {since.sequence} was written down")
        return Verified(lines, unchained, tuple(faults))

    async def _each(self, last: int) -> AsyncIterator[tuple[AuditLine, bytes | None]]:
        """Lines with their chain, in portions, up to ``last``: what is appended meanwhile is not looked at."""
        query = (
            select(
                audit.c.sequence,
                audit.c.at,
                audit.c.actor,
                audit.c.action,
                audit.c.subject,
                audit.c.details,
                audit.c.chain,
            )
            .where(audit.c.sequence <= last)
            .order_by(audit.c.sequence)
            .limit(_PORTION)
        )
        after = 0
        while True:
            async with self._database.reading("verify the audit log") as connection:
                rows = (await connection.execute(query.where(audit.c.sequence > after))).all()
            for *line, chain in rows:
                yield AuditLine(*line), chain
            if len(rows) < _PORTION:
                return
            after = rows[-1].sequence


def _missing(first: int, last: int) -> str:
    return f"line {first} is missing" if first == last else f"lines {first} to {last} are missing"
