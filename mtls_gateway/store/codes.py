"""Enrolment codes: ordered, made when their letter is printed, tried, used up (clause D.1).

What is stored is a keyed digest and the first four symbols; the code itself is in the letter only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError
from mtls_gateway.model import CodeOutcome, CodePurpose, CodeState, CodeTry
from mtls_gateway.store import audit
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import companies, enrolment_codes, users
from mtls_gateway.store.users import unknown_user

PENDING = (CodeState.ORDERED, CodeState.OPEN)
#: Values in one ``IN``: below every database's limit of parameters.
_PORTION = 500


@dataclass(frozen=True, slots=True)
class ListedCode:
    """An enrolment code as operators see it; times are POSIX seconds."""

    code_id: int
    user_id: str
    company_id: str
    purpose: CodePurpose
    state: CodeState
    ordered: float
    ordered_by: str
    printed: float | None
    expires: float | None
    tries: int
    ended: float | None


@dataclass(frozen=True, slots=True)
class DueLetter:
    """A letter that waits to be printed, with what stands in it."""

    code_id: int
    user_id: str
    user_name: str | None
    company_id: str
    company_name: str
    purpose: CodePurpose


@dataclass(frozen=True, slots=True)
class PrintedCode:
    """What is kept of a code that was just made for a letter; ``expires`` is POSIX seconds."""

    code_id: int
    locator: str
    digest: bytes
    expires: float


async def void_pending(connection: AsyncConnection, now: float, user_ids: Sequence[str]) -> int:
    """Take back whatever codes the users have, printed or not; returns how many there were."""
    taken = 0
    for start in range(0, len(user_ids), _PORTION):
        changed = await connection.execute(
            update(enrolment_codes)
            .where(
                enrolment_codes.c.user_id.in_(user_ids[start : start + _PORTION]), enrolment_codes.c.state.in_(PENDING)
            )
            .values(state=CodeState.VOID, ended=now)
        )
        taken += changed.rowcount
    return taken


async def order(
    connection: AsyncConnection, now: float, user_ids: Sequence[str], purpose: CodePurpose, actor: str
) -> None:
    """Order a code for each of the users, in the transaction of what it follows from; an older one is void."""
    if not user_ids:
        return
    await void_pending(connection, now, user_ids)
    await connection.execute(
        insert(enrolment_codes),
        [
            {
                "user_id": user_id,
                "purpose": purpose,
                "state": CodeState.ORDERED,
                "ordered": now,
                "ordered_by": actor,
                "tries": 0,
            }
            for user_id in user_ids
        ],
    )
    lines: list[tuple[str, dict[str, audit.Detail]]] = [(user_id, {"purpose": purpose.value}) for user_id in user_ids]
    await audit.record_each(connection, now, actor, "code.order", lines)


class Codes:
    """Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- for letters ------------------------------------------------------------------------------

    async def order(self, user_id: str, purpose: CodePurpose, *, actor: str) -> None:
        """Order a code for one user; an older one that was not used is void.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("order an enrolment code") as connection:
            known = await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
            if known.scalar_one_or_none() is None:
                raise unknown_user(user_id)
            await order(connection, now, [user_id], purpose, actor)

    async def due_letters(self, *, company_id: str | None = None, user_id: str | None = None) -> Sequence[DueLetter]:
        """Codes that are ordered and have no letter yet, by company and user."""
        query = (
            select(
                enrolment_codes.c.id,
                users.c.id.label("user_id"),
                users.c.name,
                companies.c.id.label("company_id"),
                companies.c.name_ja,
                enrolment_codes.c.purpose,
            )
            .select_from(enrolment_codes)
            .join(users, users.c.id == enrolment_codes.c.user_id)
            .join(companies, companies.c.id == users.c.company_id)
            .where(enrolment_codes.c.state == CodeState.ORDERED)
            .order_by(companies.c.id, users.c.id)
        )
        if company_id is not None:
            query = query.where(companies.c.id == company_id)
        if user_id is not None:
            query = query.where(users.c.id == user_id)
        async with self._database.reading("list the letters to print") as connection:
            return [DueLetter(*row) for row in await connection.execute(query)]

    async def printed(self, codes: Sequence[PrintedCode], *, actor: str) -> None:
        """The letters are written: their codes are open from now on; all, or none.

        Raises:
            StateError: one of them is not ordered any more; somebody else has printed it, or it was taken back.
        """
        now = self._database.clock.now()
        async with self._database.writing("note printed letters") as connection:
            whose = await _still_ordered(connection, [code.code_id for code in codes])
            for code in codes:
                if code.code_id not in whose:
                    raise StateError(
                        f"enrolment code {code.code_id} is not waiting for its letter any more; "
                        "destroy what was just written and see: mtls-gateway code list"
                    )
            if codes:
                await connection.execute(
                    update(enrolment_codes)
                    .where(enrolment_codes.c.id == bindparam("this"))
                    .values(
                        state=CodeState.OPEN,
                        printed=now,
                        printed_by=actor,
                        locator=bindparam("its_locator"),
                        digest=bindparam("its_digest"),
                        expires=bindparam("its_expires"),
                    ),
                    [
                        {
                            "this": code.code_id,
                            "its_locator": code.locator,
                            "its_digest": code.digest,
                            "its_expires": code.expires,
                        }
                        for code in codes
                    ],
                )
            lines: list[tuple[str, dict[str, audit.Detail]]] = [
                (whose[code.code_id], {"code": code.code_id, "expires": code.expires}) for code in codes
            ]
            await audit.record_each(connection, now, actor, "code.print", lines)

    async def withdraw(self, user_id: str, *, actor: str) -> None:
        """Take back the user's code, printed or not.

        Raises:
            StateError: the user has none that could still be used.
        """
        now = self._database.clock.now()
        async with self._database.writing("take back an enrolment code") as connection:
            changed = await connection.execute(
                update(enrolment_codes)
                .where(enrolment_codes.c.user_id == user_id, enrolment_codes.c.state.in_(PENDING))
                .values(state=CodeState.VOID, ended=now)
            )
            if changed.rowcount == 0:
                raise StateError(
                    f"user {user_id} has no enrolment code that could be used; see: mtls-gateway code list"
                )
            await audit.record(connection, now, actor, "code.withdraw", user_id)

    async def all(self, *, company_id: str | None = None, user_id: str | None = None) -> Sequence[ListedCode]:
        """Every code, or those of a company or user, newest first."""
        query = (
            select(
                enrolment_codes.c.id,
                enrolment_codes.c.user_id,
                users.c.company_id,
                enrolment_codes.c.purpose,
                enrolment_codes.c.state,
                enrolment_codes.c.ordered,
                enrolment_codes.c.ordered_by,
                enrolment_codes.c.printed,
                enrolment_codes.c.expires,
                enrolment_codes.c.tries,
                enrolment_codes.c.ended,
            )
            .join(users, users.c.id == enrolment_codes.c.user_id)
            .order_by(enrolment_codes.c.id.desc())
        )
        if company_id is not None:
            query = query.where(users.c.company_id == company_id)
        if user_id is not None:
            query = query.where(users.c.id == user_id)
        async with self._database.reading("list the enrolment codes") as connection:
            return [ListedCode(*row) for row in await connection.execute(query)]

    # --- for enrolment ----------------------------------------------------------------------------

    async def begin_try(self, user_id: str, locator: str, digest: bytes, *, limit: int) -> CodeTry:
        """Count a try at the user's code before its outcome is used, in one transaction.

        A try counts only when the first four symbols are those of the user's letter: whoever has not seen a
        letter cannot use up its tries. The ``limit``-th wrong try exhausts the code. What became of a code is told only
        to whoever has the whole of it.
        """
        now = self._database.clock.now()
        newest_first = (
            select(enrolment_codes)
            .where(enrolment_codes.c.user_id == user_id, enrolment_codes.c.locator == locator)
            .order_by(enrolment_codes.c.id.desc())
            .with_for_update()
        )
        async with self._database.writing("try an enrolment code") as connection:
            rows = (await connection.execute(newest_first)).all()
            whole = next((row for row in rows if compare_digest(row.digest or b"", digest)), None)
            if whole is None:
                guessed = next((row for row in rows if row.state is CodeState.OPEN), None)
                if guessed is not None:
                    await _count(connection, guessed, now, limit)
                    await _record_wrong(connection, now, guessed, "code")
                return CodeTry(CodeOutcome.WRONG)
            outcome = _outcome(whole, now, limit)
            if outcome in (CodeOutcome.MATCHED, CodeOutcome.USED):
                # Counted before the password is tried: parallel guesses at it cannot outrun the count.
                await _count(connection, whole, now, limit)
        return CodeTry(outcome, whole.id, whole.purpose, whole.expires)

    async def try_was_right(self, code_id: int) -> None:
        """The password was right too: earlier tries are forgotten."""
        await self._set_tries(code_id, 0)

    async def try_was_wrong(self, code_id: int) -> None:
        """The password was wrong: somebody has the letter. Counted already, and now in the audit log."""
        now = self._database.clock.now()
        async with self._database.writing("note a wrong password with an enrolment code") as connection:
            query = select(enrolment_codes).where(enrolment_codes.c.id == code_id)
            await _record_wrong(connection, now, (await connection.execute(query)).one(), "password")

    async def try_did_not_count(self, code_id: int) -> None:
        """Take one try back: nothing was tried, because the legacy backend did not answer."""
        await self._set_tries(code_id, enrolment_codes.c.tries - 1)

    async def _set_tries(self, code_id: int, tries: Any) -> None:
        this = (enrolment_codes.c.id == code_id) & (enrolment_codes.c.tries > 0)
        async with self._database.writing("take back a try at an enrolment code") as connection:
            await connection.execute(update(enrolment_codes).where(this).values(tries=tries))
            # The try that is taken back may have been the one that exhausted it.
            await connection.execute(
                update(enrolment_codes)
                .where(enrolment_codes.c.id == code_id, enrolment_codes.c.state == CodeState.EXHAUSTED)
                .values(state=CodeState.OPEN, ended=None)
            )


async def _still_ordered(connection: AsyncConnection, code_ids: Sequence[int]) -> dict[int, str]:
    """The users of those codes that wait for their letter."""
    found: dict[int, str] = {}
    for start in range(0, len(code_ids), _PORTION):
        query = select(enrolment_codes.c.id, enrolment_codes.c.user_id).where(
            enrolment_codes.c.id.in_(code_ids[start : start + _PORTION]), enrolment_codes.c.state == CodeState.ORDERED
        )
        found.update({row.id: row.user_id for row in await connection.execute(query.with_for_update())})
    return found


def _outcome(row: Row[Any], now: float, limit: int) -> CodeOutcome:
    """What becomes of a try with the whole code, before the password is looked at."""
    match row.state:
        case CodeState.USED:
            return CodeOutcome.EXHAUSTED if row.tries >= limit else CodeOutcome.USED
        case CodeState.EXHAUSTED:
            return CodeOutcome.EXHAUSTED
        case CodeState.OPEN if row.expires is not None:
            return CodeOutcome.MATCHED if now < row.expires else CodeOutcome.EXPIRED
        case _:
            return CodeOutcome.WRONG


async def _record_wrong(connection: AsyncConnection, now: float, row: Row[Any], what: str) -> None:
    await audit.record(connection, now, audit.GATEWAY, "code.wrong", row.user_id, code=row.id, wrong=what)


async def _count(connection: AsyncConnection, row: Row[Any], now: float, limit: int) -> None:
    tries = row.tries + 1
    values: dict[str, Any] = {"tries": tries}
    if tries >= limit and row.state is CodeState.OPEN:
        values |= {"state": CodeState.EXHAUSTED, "ended": now}
        await audit.record(connection, now, audit.GATEWAY, "code.exhaust", row.user_id, code=row.id)
    await connection.execute(update(enrolment_codes).where(enrolment_codes.c.id == row.id).values(values))
