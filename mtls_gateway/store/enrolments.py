"""Certificates on their way: written down, signed elsewhere, stored (clauses D.2 and D.4).

The intended row is written in one transaction with what pays for it, an enrolment code or the certificate that it
renews; constraints keep it to one per user. Whoever comes again with the same key gets the same row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import EnrolmentConflict, StateError
from mtls_gateway.model import (
    CertificateId,
    CertificateState,
    ChangeKind,
    CodePurpose,
    CodeState,
    Intention,
    NewIntention,
    print_serial,
    read_serial,
)
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.codes import PENDING
from mtls_gateway.store.engine import Database
from mtls_gateway.store.outbox import post
from mtls_gateway.store.revoking import revoke_row
from mtls_gateway.store.schema import certificates, enrolment_codes, users

_COLUMNS = (
    certificates.c.issuer,
    certificates.c.serial,
    certificates.c.user_id,
    certificates.c.state,
    certificates.c.common_name,
    certificates.c.organisation,
    certificates.c.not_before,
    certificates.c.not_after,
    certificates.c.public_key,
    certificates.c.der,
)
_RACED = "another request for this user was faster; ask again"
_USABLE = (CertificateState.VALID, CertificateState.AWAITING)


class Enrolments:
    """Satisfies ``issuance.ports.EnrolmentStore``. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def intend_by_code(self, new: NewIntention, code_id: int) -> Intention:
        """Write down a certificate that an enrolment code pays for, and use up the code, in one transaction.

        Raises:
            EnrolmentConflict: ``code_used`` (for another key), ``key_reused``, ``certificate_exists``.
        """
        now = self._database.clock.now()
        async with self._database.writing("write down a certificate", conflict=_RACED) as connection:
            await _lock_user(connection, new.user_id)
            code = (
                await connection.execute(
                    select(enrolment_codes).where(enrolment_codes.c.id == code_id).with_for_update()
                )
            ).one()
            same = await self._with_same_key(connection, new)
            if same is not None:
                if same.code_id != code_id:
                    raise EnrolmentConflict("key_reused")
                return _intention(same)
            if code.state is not CodeState.OPEN or code.user_id != new.user_id:
                raise EnrolmentConflict("code_used")
            await _retire_expired(connection, new.user_id, now)
            if await _of_user(connection, new.user_id, (CertificateState.INTENDED, *_USABLE)):
                raise EnrolmentConflict("certificate_exists")
            intention = await _write(connection, new, now, code_id)
            await connection.execute(
                update(enrolment_codes).where(enrolment_codes.c.id == code_id).values(state=CodeState.USED, ended=now)
            )
            await audit.record(
                connection, now, new.user_id, "certificate.intend", str(new.certificate), user=new.user_id, code=code_id
            )
            await publish(connection, now, [(ChangeKind.CERTIFICATE, str(new.certificate))])
        return intention

    async def intend_by_renewal(
        self, new: NewIntention, current: CertificateId, *, ends: float, window: float
    ) -> Intention:
        """Write down a certificate that the user's present one pays for (clause D.4).

        One that was asked for before with another key, and has not signed in yet, is revoked: its key is lost.

        Args:
            new: what to write down.
            current: the certificate that was shown.
            ends: its ``notAfter``, as it says itself.
            window: seconds before its end from which on it may be renewed.

        Raises:
            EnrolmentConflict: ``key_reused``, ``renewal_too_early``, ``not_current`` (the certificate shown is not
                the user's valid one).
        """
        now = self._database.clock.now()
        async with self._database.writing("write down a renewal", conflict=_RACED) as connection:
            await _lock_user(connection, new.user_id)
            own = (await connection.execute(select(certificates).where(_this(current)).with_for_update())).one_or_none()
            if own is None or own.user_id != new.user_id or own.state is not CertificateState.VALID:
                raise EnrolmentConflict("not_current")
            if now < ends - window:
                raise EnrolmentConflict("renewal_too_early")
            if now >= ends + 1.0:
                raise EnrolmentConflict("not_current")
            same = await self._with_same_key(connection, new)
            if same is not None:
                if same.code_id is not None or same.state not in (CertificateState.INTENDED, CertificateState.AWAITING):
                    raise EnrolmentConflict("key_reused")
                return _intention(same)
            told: list[tuple[ChangeKind, str]] = []
            for row in await _of_user(connection, new.user_id, (CertificateState.INTENDED, CertificateState.AWAITING)):
                told += await revoke_row(connection, now, row, actor=new.user_id, reason="superseded")
            intention = await _write(connection, new, now, None)
            await audit.record(
                connection, now, new.user_id, "certificate.intend", str(new.certificate), renews=str(current)
            )
            await publish(connection, now, [*told, (ChangeKind.CERTIFICATE, str(new.certificate))])
        return intention

    async def complete(
        self, certificate: CertificateId, der: bytes, *, cooling_off_until: float | None = None
    ) -> Intention:
        """Store the signed certificate and let it sign in: VALID after enrolment, AWAITING after renewal.

        Doing it again changes nothing. Mails to the user and its administrators are posted in the same transaction.

        Args:
            certificate: which.
            der: as the signer gave it.
            cooling_off_until: for a code of a reissue, POSIX seconds (clause D.6).

        Raises:
            EnrolmentConflict: ``revoked``: it was revoked before it was stored.
        """
        now = self._database.clock.now()
        async with self._database.writing("store a certificate", conflict=_RACED) as connection:
            row = (
                await connection.execute(select(certificates).where(_this(certificate)).with_for_update())
            ).one_or_none()
            if row is None:
                raise StateError(f"certificate {certificate} was never written down")
            if row.state is not CertificateState.INTENDED:
                if row.der == der and row.state in _USABLE:
                    return _intention(row)
                raise EnrolmentConflict("revoked")
            renewal = row.code_id is None
            state = CertificateState.AWAITING if renewal else CertificateState.VALID
            await connection.execute(update(certificates).where(_this(certificate)).values(state=state, der=der))
            purpose = await _purpose(connection, row.code_id)
            if purpose is CodePurpose.REISSUE:
                await connection.execute(
                    update(users).where(users.c.id == row.user_id).values(cooling_off_until=cooling_off_until)
                )
            await audit.record(
                connection, now, audit.GATEWAY, "certificate.issue", str(certificate), user=row.user_id, renewal=renewal
            )
            await post(
                connection,
                now,
                "renewed" if renewal else "reissued" if purpose is CodePurpose.REISSUE else "issued",
                row.user_id,
                occasion=str(certificate),
                facts={"serial": row.serial, "not_after": row.not_after, "cooling_off_until": cooling_off_until},
            )
            await publish(connection, now, [(ChangeKind.CERTIFICATE, str(certificate)), (ChangeKind.USER, row.user_id)])
            stored = (await connection.execute(select(*_COLUMNS).where(_this(certificate)))).one()
        return _intention(stored)

    async def purpose(self, certificate: CertificateId) -> CodePurpose | None:
        """Of the code that paid for it; None: a renewal."""
        query = (
            select(enrolment_codes.c.purpose)
            .join(certificates, certificates.c.code_id == enrolment_codes.c.id)
            .where(_this(certificate))
        )
        async with self._database.reading("read what a certificate was issued for") as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def abandon(self, certificate: CertificateId, *, cause: str) -> None:
        """The signer will never sign it: forget it, and give the code back. Does nothing once it is stored.

        A code that has a successor stays used up: a user has one code at a time.
        """
        now = self._database.clock.now()
        async with self._database.writing("abandon a certificate") as connection:
            intended = _this(certificate) & (certificates.c.state == CertificateState.INTENDED)
            row = (await connection.execute(select(certificates).where(intended).with_for_update())).one_or_none()
            if row is None:
                return
            await connection.execute(certificates.delete().where(intended))
            if row.code_id is not None:
                successor = enrolment_codes.alias("successor")
                pending = (successor.c.user_id == row.user_id) & successor.c.state.in_(PENDING)
                await connection.execute(
                    update(enrolment_codes)
                    .where(enrolment_codes.c.id == row.code_id, ~exists().where(pending))
                    .values(state=CodeState.OPEN, ended=None)
                )
            await audit.record(connection, now, audit.GATEWAY, "certificate.abandon", str(certificate), cause=cause)
            await publish(connection, now, [(ChangeKind.CERTIFICATE, str(certificate))])

    async def unfinished(self, before: float, limit: int = 100) -> Sequence[Intention]:
        """Certificates that were written down before ``before`` (POSIX seconds) and are not stored yet."""
        query = (
            select(*_COLUMNS)
            .where(certificates.c.state == CertificateState.INTENDED, certificates.c.registered < before)
            .order_by(certificates.c.registered)
            .limit(limit)
        )
        async with self._database.reading("list unfinished certificates") as connection:
            return [_intention(row) for row in await connection.execute(query)]

    @staticmethod
    async def _with_same_key(connection: AsyncConnection, new: NewIntention) -> Row[Any] | None:
        digest = hashlib.sha256(new.public_key).digest()
        query = select(certificates).where(certificates.c.public_key_digest == digest)
        row = (await connection.execute(query)).one_or_none()
        if row is not None and row.user_id != new.user_id:
            raise EnrolmentConflict("key_reused")
        return row


async def _write(connection: AsyncConnection, new: NewIntention, now: float, code_id: int | None) -> Intention:
    await connection.execute(
        insert(certificates).values(
            issuer=new.certificate.issuer,
            serial=print_serial(new.certificate.serial),
            user_id=new.user_id,
            state=CertificateState.INTENDED,
            not_before=new.not_before,
            not_after=new.not_after,
            registered=now,
            common_name=new.common_name,
            organisation=new.organisation,
            public_key=new.public_key,
            public_key_digest=hashlib.sha256(new.public_key).digest(),
            code_id=code_id,
            key_storage=new.key_storage,
        )
    )
    return Intention(
        new.certificate,
        new.user_id,
        CertificateState.INTENDED,
        new.common_name,
        new.organisation,
        new.not_before,
        new.not_after,
        new.public_key,
    )


async def _lock_user(connection: AsyncConnection, user_id: str) -> None:
    """One at a time for each user, where the database itself does not queue up its writers."""
    await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())


async def _retire_expired(connection: AsyncConnection, user_id: str, now: float) -> None:
    over = (
        (certificates.c.user_id == user_id)
        & certificates.c.state.in_(_USABLE)
        & (certificates.c.not_after <= now - 1.0)
    )
    await connection.execute(
        update(certificates).where(over).values(state=CertificateState.EXPIRED, ended=certificates.c.not_after)
    )


async def _of_user(connection: AsyncConnection, user_id: str, states: Sequence[CertificateState]) -> Sequence[Row[Any]]:
    query = select(certificates).where(certificates.c.user_id == user_id, certificates.c.state.in_(states))
    return (await connection.execute(query)).all()


async def _purpose(connection: AsyncConnection, code_id: int | None) -> CodePurpose | None:
    if code_id is None:
        return None
    query = select(enrolment_codes.c.purpose).where(enrolment_codes.c.id == code_id)
    purpose: CodePurpose = (await connection.execute(query)).scalar_one()
    return purpose


def _this(certificate: CertificateId) -> Any:
    return (certificates.c.issuer == certificate.issuer) & (certificates.c.serial == print_serial(certificate.serial))


def _intention(row: Any) -> Intention:
    return Intention(
        CertificateId(row.issuer, read_serial(row.serial)),
        row.user_id,
        row.state,
        row.common_name,
        row.organisation,
        row.not_before,
        row.not_after,
        row.public_key,
        row.der,
    )
