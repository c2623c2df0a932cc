"""The ``changes`` feed: how every worker learns, within a poll, of what was written.

A change is appended in the transaction that it tells of. Numbers are given out under the feed's row
lock, so they are committed in order. Old lines may be pruned; the newest never is, so a reader that is up to date
always finds the line that it read last, and one that does not find it knows that it missed some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import FellBehind, StoreUnavailable
from mtls_gateway.model import Change, ChangeKind
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import changes, feed

_SINCE = (
    select(changes.c.sequence, changes.c.at, changes.c.kind, changes.c.subject)
    .where(changes.c.sequence >= bindparam("sequence"))
    .order_by(changes.c.sequence)
    .limit(bindparam("lines"))
)


async def publish(connection: AsyncConnection, at: float, subjects: Iterable[tuple[ChangeKind, str]]) -> None:
    """Append one line per subject, in the transaction of the change; the last thing that a transaction does.

    Last, because the feed's row stays locked from here to the commit.
    """
    told = list(dict.fromkeys(subjects))
    if not told:
        return
    counted = update(feed).values(newest=feed.c.newest + len(told)).returning(feed.c.newest)
    newest: int = (await connection.execute(counted)).scalar_one()
    first = newest - len(told) + 1
    rows = [
        {"sequence": first + place, "at": at, "kind": kind, "subject": subject}
        for place, (kind, subject) in enumerate(told)
    ]
    await connection.execute(insert(changes), rows)


class Changes:
    """Reading the feed, and telling it what no table holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest_change(self) -> int:
        """The newest sequence number, 0 when there never was one.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        async with self._database.reading("read the newest change") as connection:
            newest: int = (await connection.execute(select(feed.c.newest))).scalar_one()
            return newest

    async def changes_since(self, sequence: int, limit: int = 10_000) -> Sequence[Change]:
        """Changes after ``sequence``, in order: one indexed statement, cheap enough for ten a second.

        The line ``sequence`` itself is asked for too: if it is gone, so may be others after it.

        Raises:
            FellBehind: some were pruned, or an older database was put back. Ask for ``latest_change()``, then
                forget everything that was cached, then go on from there.
            StoreUnavailable: the database does not answer.
        """
        rows = await self._database.poll("read the changes", _SINCE, {"sequence": sequence, "lines": limit + 1})
        if sequence > 0:
            if not rows or rows[0][0] != sequence:
                raise FellBehind(f"the changes feed no longer has line {sequence}")
            rows = rows[1:]
        elif rows and rows[0][0] != 1:
            raise FellBehind("the changes feed no longer begins with its first line")
        try:
            return [Change(number, at, ChangeKind(kind), subject) for number, at, kind, subject in rows[:limit]]
        except ValueError as error:
            # A newer program wrote it: what cannot be understood cannot be obeyed, so nothing is admitted.
            raise StoreUnavailable(f"the changes feed has a line of an unknown kind: {error}") from error

    async def wait_for_change(self, seconds: float) -> None:
        """Return when something may have been written, at the latest after about ``seconds``; never raises."""
        await self._database.wait(seconds)

    async def announce(self, kind: ChangeKind, subject: str) -> None:
        """Tell the workers something that no table holds: a new revocation index, "ask again".

        Raises:
            StoreUnavailable: it was not told.
        """
        async with self._database.writing("announce a change") as connection:
            await publish(connection, self._database.clock.now(), [(kind, subject)])

    async def prune(self, before: float) -> int:
        """Remove lines older than ``before`` (POSIX seconds), but not the newest one; returns how many.

        Raises:
            StoreUnavailable: nothing was removed.
        """
        newest = select(feed.c.newest).scalar_subquery()
        # By number, not by time alone: what is left is always a run without holes.
        kept = select(changes.c.sequence).where(changes.c.at >= before).order_by(changes.c.sequence).limit(1)
        async with self._database.writing("prune the changes") as connection:
            first = (await connection.execute(kept)).scalar_one_or_none()
            bound = newest if first is None else first
            removed = await connection.execute(
                delete(changes).where(changes.c.sequence < bound, changes.c.sequence < newest)
            )
            return removed.rowcount
