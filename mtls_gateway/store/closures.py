"""Emergency stops and maintenance windows of the whole service (clause E.6).

A company or a single user is stopped where companies and users are; here is what concerns everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, or_, select, update

from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ChangeKind, Closure, ClosureKind
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.engine import Database
from mtls_gateway.store.identifiers import require_name
from mtls_gateway.store.schema import closures

_CLOSURE = (
    closures.c.id,
    closures.c.kind,
    closures.c.begins,
    closures.c.ends,
    closures.c.note_ja,
    closures.c.note_en,
)


@dataclass(frozen=True, slots=True)
class ListedClosure:
    """A closure as operators see it; times are POSIX seconds."""

    closure: Closure
    set_by: str
    lifted: float | None
    lifted_by: str | None


class Closures:
    """Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def closures(self) -> Sequence[Closure]:
        """Those that hold now or are to come, the earliest first."""
        now = self._database.clock.now()
        query = (
            select(*_CLOSURE)
            .where(closures.c.lifted.is_(None), or_(closures.c.ends.is_(None), closures.c.ends > now))
            .order_by(closures.c.begins, closures.c.id)
        )
        async with self._database.reading("read the closures") as connection:
            return [Closure(*row) for row in await connection.execute(query)]

    async def stop(self, *, actor: str, note_ja: str | None = None, note_en: str | None = None) -> Closure:
        """Close the service to everybody, at once, until it is lifted.

        Raises:
            UsageError: a note that cannot be shown.
            StateError: it is stopped already.
        """
        now = self._database.clock.now()
        return await self._add(ClosureKind.EMERGENCY, now, None, note_ja, note_en, actor)

    async def plan(
        self, begins: float, ends: float, *, actor: str, note_ja: str | None = None, note_en: str | None = None
    ) -> Closure:
        """Close the service from ``begins`` to ``ends``, POSIX seconds.

        Raises:
            UsageError: it ends before it begins, or has ended; or a note that cannot be shown.
        """
        if ends <= begins:
            raise UsageError("the maintenance window ends before it begins")
        if ends <= self._database.clock.now():
            raise UsageError("the maintenance window has ended already")
        return await self._add(ClosureKind.MAINTENANCE, begins, ends, note_ja, note_en, actor)

    async def lift(self, closure_id: int, *, actor: str) -> None:
        """Open the service again, or take back a window that is to come.

        Raises:
            StateError: there is no such closure, or it was lifted or has ended.
        """
        now = self._database.clock.now()
        running = or_(closures.c.ends.is_(None), closures.c.ends > now)
        async with self._database.writing("lift a closure") as connection:
            changed = await connection.execute(
                update(closures)
                .where(closures.c.id == closure_id, closures.c.lifted.is_(None), running)
                .values(lifted=now, lifted_by=actor)
            )
            if changed.rowcount == 0:
                raise StateError(f"closure {closure_id} is not there, or over; see: mtls-gateway maintenance list")
            await audit.record(connection, now, actor, "service.open", str(closure_id))
            await publish(connection, now, [(ChangeKind.CLOSURE, str(closure_id))])

    async def all(self) -> Sequence[ListedClosure]:
        """Every closure there ever was, newest first."""
        query = select(*_CLOSURE, closures.c.set_by, closures.c.lifted, closures.c.lifted_by)
        async with self._database.reading("list the closures") as connection:
            rows = (await connection.execute(query.order_by(closures.c.id.desc()))).all()
        return [ListedClosure(Closure(*row[:6]), row.set_by, row.lifted, row.lifted_by) for row in rows]

    async def _add(
        self,
        kind: ClosureKind,
        begins: float,
        ends: float | None,
        note_ja: str | None,
        note_en: str | None,
        actor: str,
    ) -> Closure:
        for language, note in (("Japanese", note_ja), ("English", note_en)):
            if note is not None:
                require_name(f"{language} note", note)
        now = self._database.clock.now()
        async with self._database.writing("close the service") as connection:
            if kind is ClosureKind.EMERGENCY:
                held = select(closures.c.id).where(closures.c.kind == kind, closures.c.lifted.is_(None))
                stopped = (await connection.execute(held)).scalars().first()
                if stopped is not None:
                    raise StateError(f"the service is stopped already, by closure {stopped}")
            row = {
                "kind": kind,
                "begins": begins,
                "ends": ends,
                "note_ja": note_ja,
                "note_en": note_en,
                "set_by": actor,
            }
            number: int = (await connection.execute(insert(closures).values(row).returning(closures.c.id))).scalar_one()
            await audit.record(
                connection, now, actor, "service.close", str(number), kind=kind.value, begins=begins, ends=ends
            )
            await publish(connection, now, [(ChangeKind.CLOSURE, str(number))])
        return Closure(number, kind, begins, ends, note_ja, note_en)
