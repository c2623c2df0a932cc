"""Wrong passwords: counted before they are tried, so that parallel guesses cannot outrun the count (clause A.7).

A count that reaches the limit stays there while the user is suspended, and begins anew with the first attempt
after it. So an attempt that is taken back also takes back the suspension that it brought about.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.model import Attempt, ChangeKind
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import users
from mtls_gateway.store.users import Stopped, read_user, select_user, unknown_user


class Attempts:
    """Satisfies ``signin.ports.AttemptStore``. Every method may raise StoreUnavailable; nothing was counted then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin_attempt(self, user_id: str, *, limit: int, suspension: float, suspensions: int) -> Attempt:
        """Count an attempt as wrong before it is made, in one transaction.

        The ``limit``-th in a row suspends the user for ``suspension`` seconds, the ``suspensions``-th suspension stops
        it until the bank releases it. That attempt itself is still allowed.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        kind = None
        async with self._database.writing("count a password attempt") as connection:
            row = await _locked_user(connection, user_id)
            if row.stopped is not None or (row.suspended_until is not None and now < row.suspended_until):
                return Attempt(allowed=False, user=read_user(row))
            begins_anew = row.suspended_until is not None
            values: dict[str, Any] = {"wrong_passwords": 1 if begins_anew else row.wrong_passwords + 1}
            if begins_anew:
                values["suspended_until"] = None
            if values["wrong_passwords"] >= limit:
                values |= {"suspended_until": now + suspension, "suspensions": row.suspensions + 1}
                kind = "suspended"
                if values["suspensions"] >= suspensions:
                    values["stopped"] = Stopped.WRONG_PASSWORDS.value
                    kind = "stopped"
            await connection.execute(update(users).where(users.c.id == user_id).values(values))
            if kind is not None:
                await audit.record(connection, now, audit.GATEWAY, f"user.{kind}", user_id, cause="wrong_passwords")
            row = await _locked_user(connection, user_id)
            if kind is not None or begins_anew:
                await publish(connection, now, [(ChangeKind.USER, user_id)])
        if kind is not None:
            from mtls_gateway import metrics  # see ``ending``

            metrics.SUSPENSIONS.labels(kind).inc()
        return Attempt(allowed=True, user=read_user(row))

    async def attempt_was_right(self, user_id: str) -> None:
        """Forget all wrong attempts and the suspensions that they brought; an operator's stop stays.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("note a right password") as connection:
            row = await _locked_user(connection, user_id)
            values: dict[str, Any] = {"wrong_passwords": 0, "suspensions": 0, "suspended_until": None}
            await self._lift(connection, row, now, values, "right_password")

    async def attempt_did_not_count(self, user_id: str) -> None:
        """Take one attempt back, and the suspension or stop that it brought: nothing was tried.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("take a password attempt back") as connection:
            row = await _locked_user(connection, user_id)
            if row.wrong_passwords == 0:
                return
            values: dict[str, Any] = {"wrong_passwords": row.wrong_passwords - 1}
            if row.suspended_until is not None:
                values |= {"suspended_until": None, "suspensions": max(0, row.suspensions - 1)}
            await self._lift(connection, row, now, values, "attempt_taken_back")

    async def _lift(
        self, connection: AsyncConnection, row: Row[Any], now: float, values: dict[str, Any], cause: str
    ) -> None:
        was_stopped = row.stopped == Stopped.WRONG_PASSWORDS.value
        if was_stopped:
            values["stopped"] = None
        await connection.execute(update(users).where(users.c.id == row.user_id).values(values))
        if was_stopped or row.suspended_until is not None:
            await audit.record(connection, now, audit.GATEWAY, "user.lifted", row.user_id, cause=cause)
            await publish(connection, now, [(ChangeKind.USER, row.user_id)])


async def _locked_user(connection: AsyncConnection, user_id: str) -> Row[Any]:
    query = select_user(users.c.wrong_passwords, users.c.suspensions).where(users.c.id == user_id)
    row: Row[Any] | None = (await connection.execute(query.with_for_update(of=users))).one_or_none()
    if row is None:
        raise unknown_user(user_id)
    return row
