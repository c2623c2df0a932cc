"""What the CRLs of our own issuers list, and their numbers: written down before the signature (clause C.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from sqlalchemy import ColumnElement, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.clerical import ListedRevocation, NumberedCrl
from mtls_gateway.model import read_serial
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import LISTED, certificates, crls

#: So many numbers of an issuer are remembered.
_KEPT = 1_000
#: Rows that are held at a time.
_PORTION = 1_000


class Crls:
    """Satisfies ``issuance.own_crl.CrlStore``. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(
        self, issuer: str, *, above: int, this_update: float, next_update: float, ended_after: float
    ) -> int:
        """Write down a CRL that is about to be signed; returns its number, which no other one has or will have.

        Args:
            issuer: the issuer's distinguished name.
            above: the number is higher than this as well, e.g. than the last one that the signer knows of.
            this_update: POSIX seconds.
            next_update: POSIX seconds.
            ended_after: as for :meth:`listed`.
        """
        async with self._database.writing("give a CRL its number") as connection:
            last = await connection.execute(select(func.max(crls.c.number)).where(crls.c.issuer == issuer))
            number = max(last.scalar_one() or 0, above) + 1
            entries = await _count(connection, issuer, ended_after)
            row = {
                "issuer": issuer,
                "number": number,
                "this_update": this_update,
                "next_update": next_update,
                "ended_after": ended_after,
                "entries": entries,
            }
            await connection.execute(insert(crls).values(row))
            old = (crls.c.issuer == issuer) & (crls.c.number < number - _KEPT)
            await connection.execute(delete(crls).where(old))
        return number

    async def last(self, issuer: str) -> NumberedCrl | None:
        """The CRL of the issuer that was written down last; None: there is none."""
        query = (
            select(crls.c.number, crls.c.ended_after, crls.c.entries)
            .where(crls.c.issuer == issuer)
            .order_by(crls.c.number.desc())
            .limit(1)
        )
        async with self._database.reading("read the last CRL's number") as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else NumberedCrl(row.number, row.ended_after, row.entries)

    async def count(self, issuer: str, ended_after: float) -> int:
        """How many :meth:`listed` has: answered by the index alone."""
        async with self._database.reading("count what a CRL lists") as connection:
            return await _count(connection, issuer, ended_after)

    async def listed(self, issuer: str, ended_after: float) -> AsyncGenerator[ListedRevocation, None]:
        """What was revoked or superseded and would not have ended before ``ended_after``, by rising serials.

        One statement, so one moment of the database; read row by row, so that a million are never held at once.
        """
        query = (
            select(certificates.c.serial, certificates.c.ended, certificates.c.registered, certificates.c.reason)
            .where(_listed(issuer, ended_after))
            .order_by(func.length(certificates.c.serial), certificates.c.serial)
        )
        async with (
            self._database.at_one_moment("list what a CRL lists") as connection,
            connection.stream(query) as rows,
        ):
            async for portion in rows.partitions(_PORTION):
                for serial, ended, registered, reason in portion:
                    # Rows from before the reason was written down have neither.
                    yield ListedRevocation(read_serial(serial), registered if ended is None else ended, reason)


async def _count(connection: AsyncConnection, issuer: str, ended_after: float) -> int:
    query = select(func.count()).select_from(certificates).where(_listed(issuer, ended_after))
    count: int = (await connection.execute(query)).scalar_one()
    return count


def _listed(issuer: str, ended_after: float) -> ColumnElement[bool]:
    # Also the second on which it ended, and what ends nobody knows when.
    late = or_(certificates.c.not_after >= ended_after, certificates.c.not_after.is_(None))
    return (certificates.c.issuer == issuer) & LISTED & late
