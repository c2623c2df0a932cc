"""Revoking as part of something else: an operator's word, a reissue, a renewal that was asked for again.

What is revoked is refused by every worker within a poll, whatever its CRL says, and is on the next CRL if it was
issued here (clauses C.3 and D.6).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.model import CertificateId, CertificateState, ChangeKind, print_serial, read_serial
from mtls_gateway.store import audit
from mtls_gateway.store.ending import end_sessions
from mtls_gateway.store.outbox import post
from mtls_gateway.store.schema import certificates, sessions

#: A certificate in one of these states may sign in, or will as soon as it is signed.
LIVING = (CertificateState.VALID, CertificateState.AWAITING, CertificateState.INTENDED)


async def revoke_row(
    connection: AsyncConnection, now: float, row: Row[Any], *, actor: str, reason: str
) -> list[tuple[ChangeKind, str]]:
    """Revoke the certificate of a row of ``certificates``; returns what is to be published of it.

    The user and its administrators are told by mail, but not of one that nobody ever had.
    """
    certificate = CertificateId(row.issuer, read_serial(row.serial))
    await connection.execute(
        update(certificates)
        .where(certificates.c.issuer == row.issuer, certificates.c.serial == row.serial)
        .values(state=CertificateState.REVOKED, ended=now, reason=reason)
    )
    opened_by_it = (sessions.c.issuer == row.issuer) & (sessions.c.serial == row.serial)
    ended = await end_sessions(connection, now, opened_by_it, "certificate_revoked")
    await audit.record(connection, now, actor, "certificate.revoke", str(certificate), reason=reason)
    if row.state is not CertificateState.INTENDED:
        await post(
            connection,
            now,
            "revoked",
            row.user_id,
            occasion=str(certificate),
            facts={"serial": print_serial(certificate.serial), "at": now},
        )
    return [(ChangeKind.CERTIFICATE, str(certificate)), *ended]


async def revoke_usable(
    connection: AsyncConnection, now: float, user_id: str, *, actor: str, reason: str
) -> list[tuple[ChangeKind, str]]:
    """Revoke whatever the user can sign in with, now or soon; returns what is to be published of it."""
    query = select(certificates).where(certificates.c.user_id == user_id, certificates.c.state.in_(LIVING))
    told: list[tuple[ChangeKind, str]] = []
    for row in (await connection.execute(query.with_for_update())).all():
        told += await revoke_row(connection, now, row, actor=actor, reason=reason)
    return told
