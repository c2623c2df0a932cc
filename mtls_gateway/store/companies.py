"""Companies: the contract, and the login method that holds for all of its users (clauses A.4 and A.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, distinct, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import ChangeKind, Method
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.ending import end_sessions
from mtls_gateway.store.engine import Database
from mtls_gateway.store.identifiers import require_identifier, require_name
from mtls_gateway.store.schema import certificates, companies, sessions, users


@dataclass(frozen=True, slots=True)
class Company:
    """A company with its figures; ``deadline`` is POSIX seconds, only while it migrates."""

    company_id: str
    name_ja: str
    name_en: str | None
    method: Method
    deadline: float | None
    suspended: bool
    users: int
    #: How many of the users have ever acquired a certificate.
    users_with_certificate: int


class Companies:
    """What bank operators do with companies. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(self, company_id: str, name_ja: str, name_en: str | None = None, *, actor: str) -> None:
        """Add a company, on the password method.

        Raises:
            UsageError: the ID or a name cannot be one.
            StateError: there is such a company.
        """
        require_identifier("company ID", company_id)
        require_name("Japanese name", name_ja)
        if name_en is not None:
            require_name("English name", name_en)
        now = self._database.clock.now()
        row = {"id": company_id, "name_ja": name_ja, "name_en": name_en, "method": Method.PASSWORD, "suspended": False}
        conflict = f"there is a company {company_id} already; see: mtls-gateway company show {company_id}"
        async with self._database.writing("create a company", conflict=conflict) as connection:
            await connection.execute(insert(companies).values(row))
            await audit.record(connection, now, actor, "company.create", company_id, name_ja=name_ja)

    async def get(self, company_id: str) -> Company:
        """The company.

        Raises:
            StateError: there is no such company.
        """
        async with self._database.reading("read a company") as connection:
            row = (await connection.execute(_companies().where(companies.c.id == company_id))).one_or_none()
        if row is None:
            raise _unknown(company_id)
        return _company(row)

    async def all(self) -> Sequence[Company]:
        """Every company, by ID."""
        async with self._database.reading("list the companies") as connection:
            return [_company(row) for row in await connection.execute(_companies().order_by(companies.c.id))]

    async def set_method(self, company_id: str, method: Method, deadline: float | None = None, *, actor: str) -> int:
        """Switch the company; sessions that the new method would not have opened end. Returns how many did.

        ``deadline`` is needed with ``MIGRATING`` and refused with the others: each user switches on acquisition, all
        do at the deadline.

        Raises:
            UsageError: the deadline is missing, in the past, or does not belong there.
            StateError: there is no such company.
        """
        now = self._database.clock.now()
        if method is Method.MIGRATING and deadline is None:
            raise UsageError("a company that migrates needs a deadline, when all of its users have switched")
        if method is not Method.MIGRATING and deadline is not None:
            raise UsageError(f"a deadline goes with the method {Method.MIGRATING.value} only")
        if deadline is not None and deadline <= now:
            raise UsageError("the deadline has passed; to switch at once give the method certificate")
        async with self._database.writing("set the method of a company") as connection:
            await _change(connection, company_id, method=method, deadline=deadline)
            told = [(ChangeKind.COMPANY, company_id)]
            if method is not Method.MIGRATING:
                by_password = sessions.c.issuer.is_(None)
                unfit = by_password if method is Method.CERTIFICATE else ~by_password
                told += await end_sessions(connection, now, _users_of(company_id) & unfit, "method_changed")
            await audit.record(
                connection, now, actor, "company.method", company_id, method=method.value, deadline=deadline
            )
            await publish(connection, now, told)
        return len(told) - 1

    async def suspend(self, company_id: str, *, actor: str) -> int:
        """Refuse every user of the company from now on, and end their sessions; returns how many ended.

        Raises:
            StateError: there is no such company.
        """
        now = self._database.clock.now()
        async with self._database.writing("suspend a company") as connection:
            await _change(connection, company_id, suspended=True)
            ended = await end_sessions(connection, now, _users_of(company_id), "company_suspended")
            await audit.record(connection, now, actor, "company.suspend", company_id)
            await publish(connection, now, [(ChangeKind.COMPANY, company_id), *ended])
        return len(ended)

    async def resume(self, company_id: str, *, actor: str) -> None:
        """Let the company's users in again.

        Raises:
            StateError: there is no such company.
        """
        now = self._database.clock.now()
        async with self._database.writing("resume a company") as connection:
            await _change(connection, company_id, suspended=False)
            await audit.record(connection, now, actor, "company.resume", company_id)
            await publish(connection, now, [(ChangeKind.COMPANY, company_id)])


def _companies() -> Select[Any]:
    return (
        select(
            companies.c.id,
            companies.c.name_ja,
            companies.c.name_en,
            companies.c.method,
            companies.c.deadline,
            companies.c.suspended,
            func.count(distinct(users.c.id)),
            func.count(distinct(certificates.c.user_id)),
        )
        .select_from(companies)
        .outerjoin(users, users.c.company_id == companies.c.id)
        .outerjoin(certificates, certificates.c.user_id == users.c.id)
        .group_by(companies.c.id)
    )


def _company(row: Row[Any]) -> Company:
    columns: tuple[Any, ...] = tuple(row)
    return Company(*columns)


def _users_of(company_id: str) -> Any:
    return sessions.c.user_id.in_(select(users.c.id).where(users.c.company_id == company_id))


async def _change(connection: AsyncConnection, company_id: str, **values: object) -> None:
    changed = await connection.execute(update(companies).where(companies.c.id == company_id).values(values))
    if changed.rowcount == 0:
        raise _unknown(company_id)


def _unknown(company_id: str) -> StateError:
    return StateError(f"there is no company {company_id}; see: mtls-gateway company list")
