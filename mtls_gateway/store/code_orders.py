"""Who may be given an enrolment code once more, and why: what an application has granted, and no more.

A letter that was lost, came too late or was mistyped too often is followed by another on one operator's word; so is a
certificate that has expired. Whoever was not applied for, or has lost a certificate, needs an application, and with it
a second operator (clauses D.1 and D.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError
from mtls_gateway.model import ApplicationState, CertificateState, CodePurpose, CodeState, Method
from mtls_gateway.store import codes
from mtls_gateway.store.engine import Database
from mtls_gateway.store.refusal import in_portions
from mtls_gateway.store.schema import (
    application_users,
    applications,
    certificates,
    companies,
    enrolment_codes,
    users,
)
from mtls_gateway.store.standings import is_usable
from mtls_gateway.store.users import unknown_user


class CodeOrders:
    """Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def order_again(self, user_id: str, *, actor: str) -> CodePurpose:
        """Order a code in place of what the user had; returns what it is for. An older code is void.

        Raises:
            StateError: there is no such user, it has a good certificate, its company is on the password method, or it
                takes an application: it was never applied for, or its certificate was revoked.
        """
        now = self._database.clock.now()
        async with self._database.writing("order an enrolment code") as connection:
            purpose = await _granted(connection, now, user_id)
            await codes.order(connection, now, [user_id], purpose, actor)
        return purpose


async def without_certificate_or_code(connection: AsyncConnection, now: float, user_ids: Sequence[str]) -> list[str]:
    """Those of the users that have neither a good certificate nor a code that could still be used."""
    good = or_(
        certificates.c.state == CertificateState.INTENDED,
        and_(
            certificates.c.state.in_((CertificateState.VALID, CertificateState.AWAITING)),
            or_(certificates.c.not_after.is_(None), certificates.c.not_after + 1.0 > now),
        ),
    )
    open_still = or_(
        enrolment_codes.c.state == CodeState.ORDERED,
        and_(enrolment_codes.c.state == CodeState.OPEN, enrolment_codes.c.expires > now),
    )
    served = await in_portions(connection, certificates.c.user_id, user_ids, good)
    served |= await in_portions(connection, enrolment_codes.c.user_id, user_ids, open_still)
    return [user_id for user_id in user_ids if user_id not in served]


async def _granted(connection: AsyncConnection, now: float, user_id: str) -> CodePurpose:
    user = select(companies.c.method).join(users, users.c.company_id == companies.c.id).where(users.c.id == user_id)
    method: Method | None = (await connection.execute(user.with_for_update())).scalar_one_or_none()
    if method is None:
        raise unknown_user(user_id)
    if method is Method.PASSWORD:
        raise StateError(f"the company of user {user_id} is on the password method; it has to apply first")
    held = select(certificates).where(certificates.c.user_id == user_id).order_by(certificates.c.registered.desc())
    rows = (await connection.execute(held)).all()
    if any(row.state is CertificateState.INTENDED or is_usable(row, now) for row in rows):
        raise StateError(
            f"user {user_id} has a good certificate; for a PC that was lost or replaced: "
            "mtls-gateway application receive-reissue"
        )
    if not rows:
        await _require_application(connection, user_id)
        return CodePurpose.FIRST
    last = rows[0]
    if last.state is CertificateState.REVOKED:
        await _require_reissue(connection, user_id, last)
        return CodePurpose.REISSUE
    return CodePurpose.EXPIRED


async def _require_application(connection: AsyncConnection, user_id: str) -> None:
    approved = (
        select(applications.c.id)
        .join(application_users, application_users.c.application_id == applications.c.id)
        .where(application_users.c.user_id == user_id, applications.c.state == ApplicationState.APPROVED)
        .limit(1)
    )
    if (await connection.execute(approved)).first() is None:
        raise StateError(f"user {user_id} is on no approved application; see: mtls-gateway application receive")


async def _require_reissue(connection: AsyncConnection, user_id: str, last: Row[Any]) -> None:
    """A code was ordered for the reissue, by two operators or an administrator, after the revocation."""
    ordered = (
        select(enrolment_codes.c.id)
        .where(
            enrolment_codes.c.user_id == user_id,
            enrolment_codes.c.purpose == CodePurpose.REISSUE,
            enrolment_codes.c.ordered >= (last.registered if last.ended is None else last.ended),
        )
        .limit(1)
    )
    if (await connection.execute(ordered)).first() is None:
        raise StateError(
            f"the certificate of user {user_id} was revoked; another takes an application: "
            "mtls-gateway application receive-reissue"
        )
