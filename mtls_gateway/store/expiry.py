"""Certificates that near their end or have passed it: found by an index, posted and marked in one transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.clerical import EndingCertificate, GivenNotice
from mtls_gateway.model import CertificateId, CertificateState, ChangeKind, print_serial, read_serial
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.engine import Database
from mtls_gateway.store.outbox import Notice, post_each
from mtls_gateway.store.schema import ENDING, certificates, users

_newer = certificates.alias("newer")
#: A renewal waits for its first sign-in beside this one.
_RENEWED = (
    exists()
    .where(
        certificates.c.state == CertificateState.VALID,
        _newer.c.user_id == certificates.c.user_id,
        _newer.c.state == CertificateState.AWAITING,
    )
    .label("renewed")
)
_COLUMNS = (
    certificates.c.issuer,
    certificates.c.serial,
    certificates.c.user_id,
    certificates.c.not_after,
    certificates.c.noticed,
    _RENEWED,
)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A certificate that ends, with whoever would be told of it."""

    ending: EndingCertificate
    user_name: str | None
    company_id: str
    #: User IDs and addresses.
    recipients: tuple[tuple[str, str], ...]


class Expiry:
    """Satisfies ``issuance.expiry.ExpiryStore``. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def last_notices(self) -> Sequence[int | None]:
        """The different notices that were given last to certificates that will end; None: none was.

        One step of the index for each, however many certificates there are.
        """
        found: list[int | None] = [None]
        async with self._database.reading("list the notices that were given") as connection:
            while True:
                last = -1 if found[-1] is None else found[-1]
                query = select(func.min(certificates.c.noticed)).where(ENDING, certificates.c.noticed > last)
                following = (await connection.execute(query)).scalar_one()
                if following is None:
                    return found
                found.append(following)

    async def ending(self, noticed: int | None, before: float, limit: int) -> Sequence[EndingCertificate]:
        """Those that were given ``noticed`` last and end before ``before`` (POSIX seconds), the first to end first."""
        given = certificates.c.noticed.is_(None) if noticed is None else certificates.c.noticed == noticed
        query = (
            select(*_COLUMNS)
            .where(ENDING, given, certificates.c.not_after < before)
            .order_by(certificates.c.not_after)
            .limit(limit)
        )
        async with self._database.reading("list certificates that end") as connection:
            return [_ending(row) for row in await connection.execute(query)]

    async def give(self, given: Sequence[GivenNotice], goes_out: float) -> int:
        """Post the mails, mark the certificates and let those that have ended be EXPIRED, in one transaction.

        A certificate that was revoked, superseded or noticed meanwhile is left alone.

        Args:
            given: the notices.
            goes_out: their mails go out from then on, POSIX seconds.

        Returns:
            How many were given.
        """
        now = self._database.clock.now()
        async with self._database.writing("give expiry notices") as connection:
            marked = await _mark(connection, given)
            mails = [
                Notice(
                    f"expiry-{one.notice}",
                    one.ending.user_id,
                    str(one.ending.certificate),
                    {"serial": print_serial(one.ending.certificate.serial), "not_after": one.ending.not_after},
                )
                for one in marked
                if one.mailed
            ]
            await post_each(connection, now, mails, due=goes_out)
            expired = [one.ending for one in marked if one.expired]
            lines: list[tuple[str, dict[str, audit.Detail]]] = [
                (str(one.certificate), {"user": one.user_id}) for one in expired
            ]
            await audit.record_each(connection, now, audit.GATEWAY, "certificate.expire", lines)
            await publish(connection, now, [(ChangeKind.CERTIFICATE, str(one.certificate)) for one in expired])
        return len(marked)

    async def upcoming(self, before: float) -> AsyncGenerator[Upcoming, None]:
        """Every certificate that ends before ``before`` (POSIX seconds), with whoever has an address, one at a time."""
        recipients = users.alias("recipients")
        told = or_(
            recipients.c.id == users.c.id,
            and_(recipients.c.company_id == users.c.company_id, recipients.c.administrator),
        )
        query = (
            select(*_COLUMNS, users.c.name, users.c.company_id, recipients.c.id.label("to_id"), recipients.c.email)
            .select_from(certificates)
            .join(users, users.c.id == certificates.c.user_id)
            .outerjoin(recipients, told & recipients.c.email.is_not(None))
            .where(ENDING, certificates.c.not_after < before)
            .order_by(certificates.c.not_after, certificates.c.issuer, certificates.c.serial, recipients.c.id)
        )
        rows: list[Row[Any]] = []
        async with (
            self._database.at_one_moment("foresee expiry notices") as connection,
            connection.stream(query) as found,
        ):
            async for row in found:
                if rows and (rows[0].issuer, rows[0].serial) != (row.issuer, row.serial):
                    yield _upcoming(rows)
                    rows = []
                rows.append(row)
        if rows:
            yield _upcoming(rows)


async def _mark(connection: AsyncConnection, given: Sequence[GivenNotice]) -> list[GivenNotice]:
    """Mark those that are still as they were found; returns them."""
    groups: dict[tuple[str, int | None, int, bool], dict[str, GivenNotice]] = {}
    for one in given:
        issuer, serial = one.ending.certificate
        group = (issuer, one.ending.noticed, one.notice, one.expired)
        groups.setdefault(group, {})[print_serial(serial)] = one
    marked = []
    for (issuer, noticed, notice, expired), group_of in groups.items():
        these: ColumnElement[bool] = and_(
            # One issuer at a time: SQLite has no index for a list of pairs, and would go through all certificates.
            certificates.c.issuer == issuer,
            certificates.c.serial.in_(list(group_of)),
            ENDING,
            certificates.c.noticed.is_not_distinct_from(noticed),
        )
        values: dict[str, Any] = {"noticed": notice}
        if expired:
            values |= {"state": CertificateState.EXPIRED, "ended": certificates.c.not_after}
        changed = update(certificates).where(these).values(values).returning(certificates.c.serial)
        found = set((await connection.execute(changed)).scalars())
        marked += [one for serial, one in group_of.items() if serial in found]
    return marked


def _ending(row: Row[Any]) -> EndingCertificate:
    certificate = CertificateId(row.issuer, read_serial(row.serial))
    return EndingCertificate(certificate, row.user_id, row.not_after, row.noticed, bool(row.renewed))


def _upcoming(rows: Sequence[Row[Any]]) -> Upcoming:
    first = rows[0]
    told = tuple((row.to_id, row.email) for row in rows if row.email is not None)
    return Upcoming(_ending(first), first.name, first.company_id, told)
