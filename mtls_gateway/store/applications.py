"""Applications: received by one operator, approved by another (clauses D.1 and D.6).

An approved START application puts the company on the way to the certificate method and orders a code for each of the
users that it lists; a REISSUE application has revoked what its users had when it was received, and orders their codes
when it is approved. A user that is on no approved application gets no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ApplicationKind, ApplicationState, ChangeKind, CodePurpose, Method
from mtls_gateway.store import audit, codes
from mtls_gateway.store.changes import publish
from mtls_gateway.store.code_orders import without_certificate_or_code
from mtls_gateway.store.engine import Database
from mtls_gateway.store.refusal import in_portions
from mtls_gateway.store.revoking import LIVING, revoke_usable
from mtls_gateway.store.schema import application_users, applications, certificates, companies, users


@dataclass(frozen=True, slots=True)
class Application:
    """An application as operators see it; times are POSIX seconds."""

    application_id: int
    kind: ApplicationKind
    company_id: str
    state: ApplicationState
    received: float
    received_by: str
    decided: float | None
    decided_by: str | None
    #: START: from then on every user of the company needs a certificate.
    deadline: float | None
    #: How many users it lists.
    users: int


class SameOperator(StateError):
    """One person would both receive and approve an application."""


class Applications:
    """Every method may raise StoreUnavailable; nothing was done then.

    ``actor`` is the operator's name, ``account`` the number of its account where that can be known: two operators with
    the same name or the same account are one person.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def receive_start(
        self, company_id: str, deadline: float | None = None, *, actor: str, account: int | None = None
    ) -> int:
        """Note the form of a company whose users are to have certificates; returns the application's number.

        It is about all of them: none may choose (notice, 4.(1)). A company that is on the password method moves by
        ``deadline``; one that has moved applies for the users that it has got since.

        Raises:
            UsageError: the deadline is missing, has passed, or does not belong there.
            StateError: there is no such company, no user that it could be for, or it has applied already.
        """
        now = self._database.clock.now()
        if deadline is not None and deadline <= now:
            raise UsageError("the deadline has passed; by then every user of the company needs a certificate")
        async with self._database.writing("receive an application") as connection:
            method = await _locked_method(connection, company_id)
            if method is Method.PASSWORD and deadline is None:
                raise UsageError(f"company {company_id} is on the password method; give the deadline of its move")
            if method is not Method.PASSWORD and deadline is not None:
                raise UsageError(f"company {company_id} has begun to move already; the application has no deadline")
            await _refuse_second(connection, company_id)
            user_ids = await _applicants(connection, company_id, method)
            if not user_ids:
                raise StateError(f"company {company_id} has no user to apply for; add users with: mtls-gateway user")
            return await _insert(connection, now, ApplicationKind.START, company_id, deadline, user_ids, actor, account)

    async def receive_reissue(
        self, user_ids: Sequence[str], *, actor: str, account: int | None = None
    ) -> tuple[int, int]:
        """Note that users of one company need new certificates: what they have is refused at once (clause D.6).

        Their certificates are revoked and their codes, printed or not, are void. Returns the application's number and
        how many sessions ended.

        Raises:
            StateError: an unknown user, users of several companies, a company on the password method, a user whose
                reissue waits for its approval, or no users.
        """
        now = self._database.clock.now()
        async with self._database.writing("receive an application") as connection:
            company_id = await _common_company(connection, user_ids)
            if await _locked_method(connection, company_id) is Method.PASSWORD:
                raise StateError(f"company {company_id} is on the password method; there is nothing to reissue")
            await _refuse_waiting(connection, user_ids)
            number = await _insert(connection, now, ApplicationKind.REISSUE, company_id, None, user_ids, actor, account)
            told = []
            for user_id in user_ids:
                told += await revoke_usable(connection, now, user_id, actor=actor, reason="keyCompromise")
            await codes.void_pending(connection, now, user_ids)
            await publish(connection, now, told)
        return number, sum(1 for kind, _ in told if kind is ChangeKind.SESSION)

    async def approve(self, number: int, *, actor: str, account: int | None = None) -> Application:
        """Approve it: codes are ordered, and with a START the company begins to migrate.

        Raises:
            SameOperator: ``actor`` has received it: two people must have seen it. This is written to the audit log.
            StateError: there is no such application, it was decided before, its deadline has passed, or one of its
                users has got a certificate in the meantime.
        """
        now = self._database.clock.now()
        try:
            async with self._database.writing("approve an application") as connection:
                row = await _undecided(connection, number)
                _require_two_people(row, actor, account)
                found = await _application(connection, number)
                user_ids = await _user_ids(connection, number)
                if found.kind is ApplicationKind.START:
                    await _begin(connection, now, found, user_ids, actor)
                else:
                    await _order_reissues(connection, now, number, user_ids, actor)
                await _decide(connection, now, number, ApplicationState.APPROVED, actor, account)
                await publish(connection, now, [(ChangeKind.COMPANY, found.company_id)])
                return await _application(connection, number)
        except SameOperator as refused:
            async with self._database.writing("note a refused approval") as connection:
                await audit.record(
                    connection, now, actor, "application.refuse", str(number), cause="same_operator", account=account
                )
            raise refused

    async def withdraw(self, number: int, *, actor: str, account: int | None = None) -> None:
        """Take it back; nothing follows from it any more. What a REISSUE has revoked stays revoked.

        Raises:
            StateError: there is no such application, or it was decided before.
        """
        now = self._database.clock.now()
        async with self._database.writing("withdraw an application") as connection:
            await _undecided(connection, number)
            await _decide(connection, now, number, ApplicationState.WITHDRAWN, actor, account)

    async def get(self, number: int) -> Application:
        """The application.

        Raises:
            StateError: there is no such application.
        """
        async with self._database.reading("read an application") as connection:
            return await _application(connection, number)

    async def user_ids(self, number: int) -> Sequence[str]:
        """The users that it lists, by ID."""
        async with self._database.reading("read the users of an application") as connection:
            return await _user_ids(connection, number)

    async def all(self, *, company_id: str | None = None, undecided: bool = False) -> Sequence[Application]:
        """Every application, or those of a company, or those that wait for a decision; newest first."""
        query = _applications().order_by(applications.c.id.desc())
        if company_id is not None:
            query = query.where(applications.c.company_id == company_id)
        if undecided:
            query = query.where(applications.c.state == ApplicationState.RECEIVED)
        async with self._database.reading("list the applications") as connection:
            return [_read(row) for row in await connection.execute(query)]


# --- receiving ------------------------------------------------------------------------------------


async def _locked_method(connection: AsyncConnection, company_id: str) -> Method:
    query = select(companies.c.method).where(companies.c.id == company_id).with_for_update()
    method: Method | None = (await connection.execute(query)).scalar_one_or_none()
    if method is None:
        raise StateError(f"there is no company {company_id}; see: mtls-gateway company list")
    return method


async def _applicants(connection: AsyncConnection, company_id: str, method: Method) -> Sequence[str]:
    """All users of a company that is to move; of one that has moved those who have not been applied for."""
    whose = select(users.c.id).where(users.c.company_id == company_id).order_by(users.c.id)
    if method is not Method.PASSWORD:
        applied = (
            select(application_users.c.user_id)
            .join(applications, applications.c.id == application_users.c.application_id)
            .where(applications.c.company_id == company_id, applications.c.state == ApplicationState.APPROVED)
        )
        whose = whose.where(
            users.c.id.not_in(applied),
            users.c.id.not_in(select(certificates.c.user_id).where(certificates.c.state.in_(LIVING))),
        )
    return (await connection.execute(whose)).scalars().all()


async def _refuse_second(connection: AsyncConnection, company_id: str) -> None:
    query = select(applications.c.id).where(
        applications.c.company_id == company_id,
        applications.c.kind == ApplicationKind.START,
        applications.c.state == ApplicationState.RECEIVED,
    )
    waiting = (await connection.execute(query)).scalars().first()
    if waiting is not None:
        raise StateError(f"company {company_id} has applied already: application {waiting} waits for its approval")


async def _refuse_waiting(connection: AsyncConnection, user_ids: Sequence[str]) -> None:
    waiting = select(applications.c.id).where(
        applications.c.kind == ApplicationKind.REISSUE, applications.c.state == ApplicationState.RECEIVED
    )
    found = await in_portions(
        connection, application_users.c.user_id, user_ids, application_users.c.application_id.in_(waiting)
    )
    if found:
        raise StateError(f"the reissue for user {min(found)} was received before and waits for its approval")


async def _common_company(connection: AsyncConnection, user_ids: Sequence[str]) -> str:
    if not user_ids or len(set(user_ids)) != len(user_ids):
        raise UsageError("name the users that need new certificates, each once")
    known = await in_portions(connection, users.c.id, user_ids)
    unknown = [user_id for user_id in user_ids if user_id not in known]
    if unknown:
        raise StateError(f"there is no user {unknown[0]}; see: mtls-gateway user list")
    whose = await in_portions(connection, users.c.company_id, user_ids, of=users.c.id)
    if len(whose) != 1:
        raise StateError("an application is one company's; these users are of several")
    return whose.pop()


async def _insert(
    connection: AsyncConnection,
    now: float,
    kind: ApplicationKind,
    company_id: str,
    deadline: float | None,
    user_ids: Sequence[str],
    actor: str,
    account: int | None,
) -> int:
    row = {
        "kind": kind,
        "company_id": company_id,
        "state": ApplicationState.RECEIVED,
        "received": now,
        "received_by": actor,
        "received_account": account,
        "deadline": deadline,
    }
    inserted = await connection.execute(insert(applications).values(row).returning(applications.c.id))
    number: int = inserted.scalar_one()
    listed = [{"application_id": number, "user_id": user_id} for user_id in user_ids]
    await connection.execute(insert(application_users), listed)
    await audit.record(
        connection,
        now,
        actor,
        "application.receive",
        str(number),
        kind=kind.value,
        company=company_id,
        deadline=deadline,
        users=", ".join(user_ids),
        account=account,
    )
    return number


# --- deciding -------------------------------------------------------------------------------------


def _require_two_people(row: Row[Any], actor: str, account: int | None) -> None:
    same_account = account is not None and row.received_account == account
    if same_account or row.received_by.casefold() == actor.casefold():
        raise SameOperator(
            f"application {row.id} was received by {row.received_by}; another person must approve it, and {actor} is "
            "the same"
        )


async def _begin(
    connection: AsyncConnection, now: float, found: Application, user_ids: Sequence[str], actor: str
) -> None:
    number = found.application_id
    if found.deadline is not None:
        if found.deadline <= now:
            raise StateError(f"the deadline of application {number} has passed; withdraw it and receive another")
        moved = await connection.execute(
            update(companies)
            .where(companies.c.id == found.company_id, companies.c.method == Method.PASSWORD)
            .values(method=Method.MIGRATING, deadline=found.deadline)
        )
        if moved.rowcount:
            await audit.record(
                connection,
                now,
                actor,
                "company.method",
                found.company_id,
                method=Method.MIGRATING.value,
                deadline=found.deadline,
                application=number,
            )
    waiting = await without_certificate_or_code(connection, now, user_ids)
    await codes.order(connection, now, waiting, CodePurpose.FIRST, actor)


async def _order_reissues(
    connection: AsyncConnection, now: float, number: int, user_ids: Sequence[str], actor: str
) -> None:
    served = await in_portions(connection, certificates.c.user_id, user_ids, certificates.c.state.in_(LIVING))
    if served:
        raise StateError(
            f"user {min(served)} has got a certificate since application {number} was received; withdraw it, and "
            "receive another if this certificate too is to be replaced"
        )
    await codes.order(connection, now, user_ids, CodePurpose.REISSUE, actor)


async def _undecided(connection: AsyncConnection, number: int) -> Row[Any]:
    query = select(applications).where(applications.c.id == number).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise _unknown(number)
    if row.state is not ApplicationState.RECEIVED:
        raise StateError(f"application {number} was {row.state.value} before, by {row.decided_by}")
    return row


async def _decide(
    connection: AsyncConnection, now: float, number: int, state: ApplicationState, actor: str, account: int | None
) -> None:
    await connection.execute(
        update(applications)
        .where(applications.c.id == number)
        .values(state=state, decided=now, decided_by=actor, decided_account=account)
    )
    word = "approve" if state is ApplicationState.APPROVED else "withdraw"
    await audit.record(connection, now, actor, f"application.{word}", str(number), account=account)


# --- reading --------------------------------------------------------------------------------------


def _applications() -> Any:
    listed = (
        select(func.count())
        .select_from(application_users)
        .where(application_users.c.application_id == applications.c.id)
        .scalar_subquery()
    )
    return select(applications, listed.label("users"))


async def _application(connection: AsyncConnection, number: int) -> Application:
    row = (await connection.execute(_applications().where(applications.c.id == number))).one_or_none()
    if row is None:
        raise _unknown(number)
    return _read(row)


async def _user_ids(connection: AsyncConnection, number: int) -> Sequence[str]:
    listed = select(application_users.c.user_id).where(application_users.c.application_id == number)
    return (await connection.execute(listed.order_by(application_users.c.user_id))).scalars().all()


def _read(row: Row[Any]) -> Application:
    return Application(
        row.id,
        row.kind,
        row.company_id,
        row.state,
        row.received,
        row.received_by,
        row.decided,
        row.decided_by,
        row.deadline,
        row.users,
    )


def _unknown(number: int) -> StateError:
    return StateError(f"there is no application {number}; see: mtls-gateway application list")
