"""Sessions: at most one live one per user ID, by a constraint (clause A.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, insert, or_, select, update

from mtls_gateway.errors import StateError
from mtls_gateway.model import (
    CertificateId,
    ChangeKind,
    NewSession,
    SessionRow,
    SessionState,
    print_serial,
    read_serial,
)
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.ending import end_sessions
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import sessions, users
from mtls_gateway.store.users import read_user, select_user, unknown_user

_SESSION = select_user(
    sessions.c.digest,
    sessions.c.state,
    sessions.c.issuer,
    sessions.c.serial,
    sessions.c.opened,
    sessions.c.last_used,
    sessions.c.ends,
    sessions.c.backend,
).join(sessions, sessions.c.user_id == users.c.id)

_NOTE_USE = (
    update(sessions)
    .where(
        sessions.c.digest == bindparam("session"),
        sessions.c.last_used < bindparam("used"),
        sessions.c.state != SessionState.ENDED,
    )
    .values(last_used=bindparam("used"))
)


@dataclass(frozen=True, slots=True)
class LegacyLeft:
    """A session that ended without its browser: its legacy session still waits to be ended."""

    digest: bytes
    legacy_cookies: bytes


class Sessions:
    """Satisfies ``signin.ports.SessionStore``. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def session(self, digest: bytes) -> SessionRow | None:
        """The session of that token digest with its user, in one query; None: never was, or forgotten."""
        async with self._database.reading("read a session") as connection:
            row = (await connection.execute(_SESSION.where(sessions.c.digest == digest))).one_or_none()
        return None if row is None else _session(row)

    async def note_use(self, last_used: Mapping[bytes, float]) -> None:
        """Write down when sessions were last used (POSIX seconds); never moves a time back."""
        if not last_used:
            return
        rows = [{"session": digest, "used": used} for digest, used in last_used.items()]
        async with self._database.writing("note the use of sessions") as connection:
            await connection.execute(_NOTE_USE, rows)

    async def open_session(self, new: NewSession, *, idle: float) -> SessionState:
        """Insert the session: LIVE, or PENDING when the user has a live one that is not idle longer than ``idle``.

        A live session past its idle or absolute end is ended in the same transaction.

        Raises:
            StateError: there is no such user or certificate, or there is a session of this digest.
        """
        now = self._database.clock.now()
        conflict = f"a session of user {new.user_id} cannot be opened: its certificate is not registered, or it is open"
        async with self._database.writing("open a session", conflict=conflict) as connection:
            user = select(users.c.id).where(users.c.id == new.user_id).with_for_update()
            if (await connection.execute(user)).one_or_none() is None:
                raise unknown_user(new.user_id)
            live = (sessions.c.user_id == new.user_id) & (sessions.c.state == SessionState.LIVE)
            told = await end_sessions(connection, now, live & (sessions.c.ends <= now), "absolute")
            # Used further ahead than that: under a clock that has been set back since. No worker admits it any more.
            idled = (sessions.c.last_used < now - idle) | (sessions.c.last_used > now + idle)
            told += await end_sessions(connection, now, live & idled, "idle")
            other = (await connection.execute(select(sessions.c.digest).where(live))).one_or_none()
            state = SessionState.LIVE if other is None else SessionState.PENDING
            await connection.execute(insert(sessions).values(_row(new, state)))
            if state is SessionState.LIVE:
                # So that every worker may know it before its browser comes there.
                told.append((ChangeKind.OPENED, new.digest.hex()))
            await publish(connection, now, told)
        return state

    async def take_over(self, digest: bytes, *, not_before: float) -> Sequence[tuple[bytes, bytes]]:
        """Make a PENDING session LIVE and end the user's others, live or pending, in one transaction.

        Returns the ended sessions' (digest, legacy_cookies).

        Raises:
            StateError: ``digest`` is not PENDING, has reached its end, or was opened before ``not_before``.
        """
        now = self._database.clock.now()
        async with self._database.writing("take a session over") as connection:
            query = select(sessions.c.user_id, sessions.c.state, sessions.c.opened, sessions.c.ends)
            row = (await connection.execute(query.where(sessions.c.digest == digest).with_for_update())).one_or_none()
            if row is None or row.state is not SessionState.PENDING or row.opened < not_before or row.ends <= now:
                raise StateError("this session no longer waits to take over another; sign in again")
            others = (sessions.c.user_id == row.user_id) & (sessions.c.digest != digest)
            running = others & (sessions.c.state != SessionState.ENDED)
            left = (await connection.execute(select(sessions.c.digest, sessions.c.legacy_cookies).where(running))).all()
            told = await end_sessions(connection, now, running, "taken_over")
            await connection.execute(
                update(sessions).where(sessions.c.digest == digest).values(state=SessionState.LIVE, last_used=now)
            )
            await connection.execute(
                update(sessions).where(sessions.c.digest.in_([one.digest for one in left])).values(legacy_cookies=b"")
            )
            await publish(
                connection, now, [*told, (ChangeKind.SESSION, digest.hex()), (ChangeKind.OPENED, digest.hex())]
            )
        return [(one.digest, one.legacy_cookies) for one in left]

    async def end_session(self, digest: bytes, cause: str) -> bytes | None:
        """End it, whatever its state; returns its ``legacy_cookies``, None when it was not there or had ended."""
        now = self._database.clock.now()
        this = sessions.c.digest == digest
        async with self._database.writing("end a session") as connection:
            query = select(sessions.c.legacy_cookies).where(this, sessions.c.state != SessionState.ENDED)
            cookies: bytes | None = (await connection.execute(query.with_for_update())).scalar_one_or_none()
            if cookies is None:
                return None
            told = await end_sessions(connection, now, this, cause)
            await connection.execute(update(sessions).where(this).values(legacy_cookies=b""))
            await publish(connection, now, told)
        return cookies

    async def all(self, *, user_id: str | None = None, state: SessionState | None = None) -> Sequence[SessionRow]:
        """Every session that is remembered, or those of a user or in a state, newest first."""
        query = _SESSION.order_by(sessions.c.opened.desc(), sessions.c.digest)
        if user_id is not None:
            query = query.where(sessions.c.user_id == user_id)
        if state is not None:
            query = query.where(sessions.c.state == state)
        async with self._database.reading("list the sessions") as connection:
            return [_session(row) for row in await connection.execute(query)]

    async def end_all_of(self, user_id: str, *, actor: str) -> int:
        """End every session of the user, as an operator; returns how many ended.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("end the sessions of a user") as connection:
            if (await connection.execute(select(users.c.id).where(users.c.id == user_id))).one_or_none() is None:
                raise unknown_user(user_id)
            told = await end_sessions(connection, now, sessions.c.user_id == user_id, "operator")
            await audit.record(connection, now, actor, "session.end", user_id, sessions=len(told))
            await publish(connection, now, told)
        return len(told)

    async def end_overdue(self, *, idle: float) -> int:
        """End sessions past their idle or absolute end; returns how many. Their cookies wait to be taken."""
        now = self._database.clock.now()
        async with self._database.writing("end overdue sessions") as connection:
            told = await end_sessions(connection, now, sessions.c.ends <= now, "absolute")
            told += await end_sessions(connection, now, sessions.c.last_used < now - idle, "idle")
            await publish(connection, now, told)
        return len(told)

    async def take_legacy_left(self, limit: int = 100) -> Sequence[LegacyLeft]:
        """Sessions that ended without their browser, to end their legacy sessions; each is given once."""
        async with self._database.writing("take cookies of ended sessions") as connection:
            query = (
                select(sessions.c.digest, sessions.c.legacy_cookies)
                .where(sessions.c.state == SessionState.ENDED, sessions.c.legacy_cookies != b"")
                .order_by(sessions.c.ended)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            left = [LegacyLeft(*row) for row in await connection.execute(query)]
            these = sessions.c.digest.in_([one.digest for one in left])
            await connection.execute(update(sessions).where(these).values(legacy_cookies=b""))
        return left

    async def prune(self, before: float) -> int:
        """Forget sessions that ended, or had to end, before ``before`` (POSIX seconds); returns how many."""
        overdue = or_(sessions.c.ended < before, sessions.c.ends < before)
        async with self._database.writing("prune the sessions") as connection:
            return (await connection.execute(delete(sessions).where(overdue))).rowcount


def _session(row: Any) -> SessionRow:
    certificate = None if row.issuer is None else CertificateId(row.issuer, read_serial(row.serial))
    return SessionRow(
        digest=row.digest,
        state=row.state,
        user=read_user(row),
        certificate=certificate,
        opened=row.opened,
        last_used=row.last_used,
        ends=row.ends,
        backend=row.backend,
    )


def _row(new: NewSession, state: SessionState) -> dict[str, object]:
    return {
        "digest": new.digest,
        "user_id": new.user_id,
        "issuer": None if new.certificate is None else new.certificate.issuer,
        "serial": None if new.certificate is None else print_serial(new.certificate.serial),
        "state": state,
        "opened": new.opened,
        "last_used": new.opened,
        "ends": new.ends,
        "legacy_cookies": new.legacy_cookies,
        "backend": new.backend,
    }
