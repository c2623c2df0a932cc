"""Registered certificates: (issuer, serial) → user, and where each stands in its life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError
from mtls_gateway.model import (
    CertificateId,
    CertificateState,
    ChangeKind,
    Registration,
    SessionState,
    print_serial,
    read_serial,
)
from mtls_gateway.standing import CertificateTerm
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.engine import Database
from mtls_gateway.store.refusal import Problem, Refused, in_portions
from mtls_gateway.store.revoking import revoke_row
from mtls_gateway.store.schema import certificates, sessions, users
from mtls_gateway.store.users import read_user, select_user

#: A certificate in one of these states may sign in.
USABLE = (CertificateState.VALID, CertificateState.AWAITING)

_REGISTRATION = (
    select_user(certificates.c.state, certificates.c.not_after)
    .join(certificates, certificates.c.user_id == users.c.id)
    .where(certificates.c.issuer == bindparam("issuer"), certificates.c.serial == bindparam("serial"))
)


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """A certificate about to be registered; ``not_after`` is POSIX seconds, None: it is not known."""

    certificate: CertificateId
    user_id: str
    not_after: float | None = None


@dataclass(frozen=True, slots=True)
class ListedCertificate:
    """A registered certificate as operators see it; ``registered`` is POSIX seconds."""

    certificate: CertificateId
    user_id: str
    state: CertificateState
    not_after: float | None
    registered: float
    #: It has a live session whose absolute end has not come.
    signed_in: bool


class Certificates:
    """The registration of certificates. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def registration(self, certificate: CertificateId) -> Registration | None:
        """The certificate's registration, with its user and company, in one query; None: not registered."""
        key = {"issuer": certificate.issuer, "serial": print_serial(certificate.serial)}
        async with self._database.reading("read a registration") as connection:
            row = (await connection.execute(_REGISTRATION, key)).one_or_none()
        return None if row is None else Registration(certificate, row.state, row.not_after, read_user(row))

    async def register(self, added: Sequence[NewCertificate], *, actor: str) -> None:
        """Register valid certificates that were issued elsewhere: all, or none and every reason why not.

        Raises:
            Refused: a certificate that is registered or given twice, an unknown user, a user with a valid certificate.
        """
        now = self._database.clock.now()
        problems = _given_twice(added)
        conflict = "one of these certificates was just registered, or one of the users was given another"
        async with self._database.writing("register certificates", conflict=conflict) as connection:
            problems += await _conflicts(connection, added)
            if problems:
                raise Refused(problems)
            if added:
                await connection.execute(insert(certificates), [_row(new, now) for new in added])
            lines: list[tuple[str, dict[str, audit.Detail]]] = []
            told: list[tuple[ChangeKind, str]] = []
            for new in added:
                lines.append((str(new.certificate), {"user": new.user_id}))
                told += [(ChangeKind.CERTIFICATE, str(new.certificate)), (ChangeKind.USER, new.user_id)]
            await audit.record_each(connection, now, actor, "certificate.register", lines)
            await publish(connection, now, told)

    async def revoke(self, certificate: CertificateId, *, actor: str, reason: str = "unspecified") -> int:
        """Refuse the certificate for good, and end its sessions; returns how many ended.

        Raises:
            StateError: it is not registered, or was revoked before.
        """
        now = self._database.clock.now()
        this = _this(certificate)
        async with self._database.writing("revoke a certificate") as connection:
            row = (await connection.execute(select(certificates).where(this).with_for_update())).one_or_none()
            if row is None:
                raise StateError(f"certificate {certificate} is not registered; see: mtls-gateway certificate list")
            if row.state is CertificateState.REVOKED:
                raise StateError(f"certificate {certificate} was revoked before")
            told = await revoke_row(connection, now, row, actor=actor, reason=reason)
            await publish(connection, now, told)
        return len(told) - 1

    async def term(self, certificate: CertificateId) -> CertificateTerm | None:
        """Since when the certificate is good and until when, and whether a newer one waits; None: not registered."""
        newer = certificates.alias("newer")
        query = (
            select(
                certificates.c.not_before,
                certificates.c.registered,
                certificates.c.not_after,
                func.coalesce(newer.c.not_before, newer.c.registered).label("newer_since"),
            )
            .outerjoin(
                newer,
                (newer.c.user_id == certificates.c.user_id)
                & (newer.c.state == CertificateState.AWAITING)
                & (certificates.c.state == CertificateState.VALID),
            )
            .where(_this(certificate))
        )
        async with self._database.reading("read the life of a certificate") as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            return None
        since = row.registered if row.not_before is None else row.not_before
        return CertificateTerm(since, row.not_after, row.newer_since)

    async def superseded_by_first_sign_in(self, certificate: CertificateId) -> None:
        """The certificate has signed in: if it was awaiting that, it is valid now and its elder superseded.

        For any other certificate this is one query and writes nothing.
        """
        this = _this(certificate)
        state = select(certificates.c.state, certificates.c.user_id).where(this)
        async with self._database.reading("read the state of a certificate") as connection:
            row = (await connection.execute(state)).one_or_none()
        if row is None or row.state is not CertificateState.AWAITING:
            return
        now = self._database.clock.now()
        async with self._database.writing("supersede a certificate") as connection:
            row = (await connection.execute(state.with_for_update())).one()
            if row.state is not CertificateState.AWAITING:
                return
            # First the elder, then this one: never two valid ones, not even within the transaction.
            elder = (certificates.c.user_id == row.user_id) & (certificates.c.state == CertificateState.VALID)
            superseded = await connection.execute(
                update(certificates)
                .where(elder)
                .values(state=CertificateState.SUPERSEDED, ended=now, reason="superseded")
                .returning(certificates.c.issuer, certificates.c.serial)
            )
            told = [CertificateId(old.issuer, read_serial(old.serial)) for old in superseded]
            await connection.execute(update(certificates).where(this).values(state=CertificateState.VALID))
            for old in told:
                await audit.record(
                    connection, now, audit.GATEWAY, "certificate.supersede", str(old), by=str(certificate)
                )
            await publish(connection, now, [(ChangeKind.CERTIFICATE, str(one)) for one in (*told, certificate)])

    async def all(
        self,
        *,
        user_id: str | None = None,
        issuer: str | None = None,
        serial: int | None = None,
        usable_only: bool = False,
    ) -> Sequence[ListedCertificate]:
        """Every registered certificate, or those of a user, an issuer or a serial, by user and registration."""
        live = exists().where(
            sessions.c.issuer == certificates.c.issuer,
            sessions.c.serial == certificates.c.serial,
            sessions.c.state == SessionState.LIVE,
            sessions.c.ends > self._database.clock.now(),
        )
        query = select(
            certificates.c.issuer,
            certificates.c.serial,
            certificates.c.user_id,
            certificates.c.state,
            certificates.c.not_after,
            certificates.c.registered,
            live.label("signed_in"),
        ).order_by(certificates.c.user_id, certificates.c.registered, certificates.c.serial)
        if user_id is not None:
            query = query.where(certificates.c.user_id == user_id)
        if issuer is not None:
            query = query.where(certificates.c.issuer == issuer)
        if serial is not None:
            query = query.where(certificates.c.serial == print_serial(serial))
        if usable_only:
            query = query.where(certificates.c.state.in_(USABLE))
        async with self._database.reading("list the certificates") as connection:
            return [
                ListedCertificate(
                    CertificateId(row.issuer, read_serial(row.serial)),
                    row.user_id,
                    row.state,
                    row.not_after,
                    row.registered,
                    bool(row.signed_in),
                )
                for row in await connection.execute(query)
            ]


def _this(certificate: CertificateId) -> Any:
    return (certificates.c.issuer == certificate.issuer) & (certificates.c.serial == print_serial(certificate.serial))


def _row(new: NewCertificate, now: float) -> dict[str, object]:
    return {
        "issuer": new.certificate.issuer,
        "serial": print_serial(new.certificate.serial),
        "user_id": new.user_id,
        "state": CertificateState.VALID,
        "not_after": new.not_after,
        "registered": now,
    }


def _given_twice(added: Sequence[NewCertificate]) -> list[Problem]:
    problems: list[Problem] = []
    ids: dict[CertificateId, int] = {}
    owners: dict[str, int] = {}
    for place, new in enumerate(added):
        if ids.setdefault(new.certificate, place) != place:
            problems.append(Problem(place, f"certificate {new.certificate} is given twice"))
        elif owners.setdefault(new.user_id, place) != place:
            problems.append(Problem(place, f"user {new.user_id} is given a second valid certificate"))
    return problems


async def _conflicts(connection: AsyncConnection, added: Sequence[NewCertificate]) -> list[Problem]:
    wanted_users = {new.user_id for new in added}
    known = await in_portions(connection, users.c.id, wanted_users)
    valid = certificates.c.state == CertificateState.VALID
    served = await in_portions(connection, certificates.c.user_id, wanted_users, valid)
    registered: set[tuple[str, str]] = set()
    for issuer in {new.certificate.issuer for new in added}:
        serials = {print_serial(new.certificate.serial) for new in added if new.certificate.issuer == issuer}
        of_issuer = certificates.c.issuer == issuer
        registered |= {
            (issuer, serial) for serial in await in_portions(connection, certificates.c.serial, serials, of_issuer)
        }
    problems: list[Problem] = []
    for place, new in enumerate(added):
        if (new.certificate.issuer, print_serial(new.certificate.serial)) in registered:
            problems.append(Problem(place, f"certificate {new.certificate} is registered already"))
        elif new.user_id not in known:
            problems.append(Problem(place, f"there is no user {new.user_id}"))
        elif new.user_id in served:
            problems.append(Problem(place, f"user {new.user_id} has a valid certificate; revoke it first"))
    return problems
