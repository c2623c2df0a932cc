"""How far users have come on their way to a certificate: of a company for its progress list, of members for a page.

Three statements more than the users themselves, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.model import CertificateId, CertificateState, CodeState, SessionState, read_serial
from mtls_gateway.standing import Stage, UserStanding
from mtls_gateway.store.engine import Database
from mtls_gateway.store.schema import certificates, enrolment_codes, sessions, users

_USABLE = (CertificateState.VALID, CertificateState.AWAITING)
#: Whether it is usable comes first, then whether it is the one in use, then how new it is.
_RANK = {CertificateState.AWAITING: 1, CertificateState.VALID: 2}


class Standings:
    """What operators see. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of_company(self, company_id: str) -> Sequence[UserStanding]:
        """Every user of the company, by ID."""
        async with self._database.reading("list the standings") as connection:
            return await read_standings(connection, self._database.clock.now(), users.c.company_id == company_id)


async def read_standings(
    connection: AsyncConnection, now: float, which: ColumnElement[bool], *, limit: int | None = None, offset: int = 0
) -> Sequence[UserStanding]:
    """The users that ``which`` (a condition on ``users``) chooses, by ID, at ``now`` (POSIX seconds)."""
    chosen = select(users.c.id, users.c.name, users.c.administrator).where(which).order_by(users.c.id)
    found = (await connection.execute(chosen.limit(limit).offset(offset))).all()
    if limit is not None:
        which = users.c.id.in_([user.id for user in found])
    held = await _certificates(connection, now, which)
    coded = await _codes(connection, which)
    signed_in = await _sign_ins(connection, which)
    return [_standing(user, held.get(user.id), coded.get(user.id), signed_in.get(user.id), now) for user in found]


async def _certificates(connection: AsyncConnection, now: float, which: ColumnElement[bool]) -> dict[str, Any]:
    query = (
        select(
            certificates.c.user_id,
            certificates.c.issuer,
            certificates.c.serial,
            certificates.c.state,
            certificates.c.not_before,
            certificates.c.not_after,
            certificates.c.registered,
        )
        .join(users, users.c.id == certificates.c.user_id)
        .where(which, certificates.c.state != CertificateState.INTENDED)
    )
    best: dict[str, Any] = {}
    for row in await connection.execute(query):
        other = best.get(row.user_id)
        if other is None or _rank(row, now) > _rank(other, now):
            best[row.user_id] = row
    return best


def _rank(row: Any, now: float) -> tuple[int, float]:
    return (_RANK[row.state] if is_usable(row, now) else 0), row.registered


def is_usable(row: Any, now: float) -> bool:
    """Whether the certificate of a row admits its user; the row says its state and ``not_after``."""
    return row.state in _USABLE and (row.not_after is None or now < row.not_after + 1.0)


async def _codes(connection: AsyncConnection, which: ColumnElement[bool]) -> dict[str, Any]:
    newest = (
        select(func.max(enrolment_codes.c.id))
        .join(users, users.c.id == enrolment_codes.c.user_id)
        .where(which)
        .group_by(enrolment_codes.c.user_id)
    )
    query = select(enrolment_codes).where(enrolment_codes.c.id.in_(newest))
    return {row.user_id: row for row in await connection.execute(query)}


async def _sign_ins(connection: AsyncConnection, which: ColumnElement[bool]) -> dict[str, float]:
    query = (
        select(sessions.c.user_id, func.max(sessions.c.opened).label("newest"))
        .join(users, users.c.id == sessions.c.user_id)
        .where(which, sessions.c.state != SessionState.PENDING)
        .group_by(sessions.c.user_id)
    )
    return {row.user_id: row.newest for row in await connection.execute(query)}


def _standing(user: Any, held: Any | None, code: Any | None, last_sign_in: float | None, now: float) -> UserStanding:
    begun = None if held is None else held.registered if held.not_before is None else held.not_before
    return UserStanding(
        user.id,
        user.name,
        user.administrator,
        _stage(held, code, now),
        None if held is None else CertificateId(held.issuer, read_serial(held.serial)),
        None if held is None else _state(held, now),
        begun,
        None if held is None else held.not_after,
        None if code is None else code.purpose,
        None if code is None else code.printed,
        None if code is None else code.expires,
        last_sign_in,
    )


def _state(held: Any, now: float) -> CertificateState:
    """Its state, and not what the sweep has yet to write down."""
    if held.state in _USABLE and not is_usable(held, now):
        return CertificateState.EXPIRED
    state: CertificateState = held.state
    return state


def _stage(held: Any | None, code: Any | None, now: float) -> Stage:
    if held is not None and is_usable(held, now):
        return Stage.ACQUIRED
    if code is not None:
        match code.state:
            case CodeState.ORDERED:
                return Stage.LETTER_DUE
            case CodeState.OPEN:
                return Stage.LETTER_OUT if now < code.expires else Stage.CODE_EXPIRED
            case CodeState.EXHAUSTED:
                return Stage.CODE_EXHAUSTED
            case CodeState.VOID:
                return Stage.CODE_VOID
    return Stage.NOT_APPLIED if held is None else Stage.ENDED
