"""Users: who they are, which company decides their method, and whether they may sign in."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import StateError, UsageError
from mtls_gateway.model import CertificateState, ChangeKind, User
from mtls_gateway.store import audit
from mtls_gateway.store.changes import publish
from mtls_gateway.store.ending import end_sessions
from mtls_gateway.store.engine import Database
from mtls_gateway.store.identifiers import is_identifier, require_address, require_identifier, require_name
from mtls_gateway.store.outbox import post
from mtls_gateway.store.refusal import Problem, Refused, in_portions
from mtls_gateway.store.schema import certificates, companies, outbox, sessions, users

#: The kind of the mail that tells of a new mail address, to both.
ADDRESS_CHANGED = "address_changed"


class Stopped(str, Enum):
    """Who stopped a user. A right password lifts the one, only the bank lifts the other."""

    WRONG_PASSWORDS = "wrong_passwords"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user about to be added."""

    user_id: str
    company_id: str
    administrator: bool = False
    email: str | None = None
    #: As it stands in letters and certificates; None: the ID does.
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ListedUser:
    """A user as operators see it."""

    user: User
    email: str | None
    name: str | None
    wrong_passwords: int
    suspensions: int
    stopped_by: Stopped | None


_acquired = certificates.alias("acquired")

#: The columns that :func:`read_user` reads, in its order.
USER_COLUMNS: tuple[ColumnElement[Any], ...] = (
    users.c.id.label("user_id"),
    users.c.company_id,
    users.c.administrator,
    users.c.suspended_until,
    users.c.stopped,
    companies.c.method,
    companies.c.deadline,
    companies.c.suspended.label("company_suspended"),
    exists()
    .where(_acquired.c.user_id == users.c.id, _acquired.c.state != CertificateState.INTENDED)
    .label("has_certificate"),
    users.c.cooling_off_until,
)


def read_user(row: Row[Any]) -> User:
    """The user of a row that has the columns ``USER_COLUMNS``."""
    return User(
        user_id=row.user_id,
        company_id=row.company_id,
        administrator=row.administrator,
        suspended_until=row.suspended_until,
        stopped=row.stopped is not None,
        company_method=row.method,
        company_deadline=row.deadline,
        company_suspended=row.company_suspended,
        has_certificate=bool(row.has_certificate),
        cooling_off_until=row.cooling_off_until,
    )


def select_user(*more: ColumnElement[Any]) -> Select[Any]:
    """Users with their companies, as one query."""
    return select(*USER_COLUMNS, *more).select_from(users).join(companies, companies.c.id == users.c.company_id)


class Users:
    """Users, their stops and their local passwords. Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def user(self, user_id: str) -> User | None:
        """The user with exactly this ID."""
        if not is_identifier(user_id):
            return None
        async with self._database.reading("read a user") as connection:
            row = (await connection.execute(select_user().where(users.c.id == user_id))).one_or_none()
        return None if row is None else read_user(row)

    async def name_of(self, user_id: str) -> str | None:
        """The user's name as it stands in letters and certificates; None: it has none, or there is no such user."""
        async with self._database.reading("read a user's name") as connection:
            found = await connection.execute(select(users.c.name).where(users.c.id == user_id))
            return found.scalar_one_or_none()

    async def password_hash(self, user_id: str) -> str | None:
        """The user's PHC string; None: no password was set, or there is no such user."""
        async with self._database.reading("read a password") as connection:
            found = await connection.execute(select(users.c.password_hash).where(users.c.id == user_id))
            return found.scalar_one_or_none()

    async def set_password_hash(self, user_id: str, password_hash: str | None, *, actor: str) -> None:
        """Set the user's local password, given as a PHC string; None removes it.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("set a password") as connection:
            changed = await connection.execute(
                update(users).where(users.c.id == user_id).values(password_hash=password_hash)
            )
            if changed.rowcount == 0:
                raise unknown_user(user_id)
            await audit.record(connection, now, actor, "user.password", user_id, removed=password_hash is None)

    async def add(self, added: Sequence[NewUser], *, actor: str) -> None:
        """Add users: all, or none and every reason why not.

        Raises:
            Refused: names what is wrong with which of them.
        """
        now = self._database.clock.now()
        problems = _misfits(added)
        async with self._database.writing("add users", conflict="one of these users was just added") as connection:
            known = await in_portions(connection, companies.c.id, [new.company_id for new in added])
            taken = await in_portions(connection, users.c.id, [new.user_id for new in added])
            for place, new in enumerate(added):
                if new.company_id not in known:
                    problems.append(Problem(place, f"there is no company {new.company_id}"))
                if new.user_id in taken:
                    problems.append(Problem(place, f"there is a user {new.user_id} already"))
            if problems:
                raise Refused(problems)
            if added:
                await connection.execute(insert(users), [_row(new) for new in added])
            lines: list[tuple[str, dict[str, audit.Detail]]] = [
                (new.user_id, {"company": new.company_id}) for new in added
            ]
            await audit.record_each(connection, now, actor, "user.create", lines)

    async def all(self, company_id: str | None = None) -> Sequence[ListedUser]:
        """Every user, or those of one company, by ID."""
        query = select_user(users.c.email, users.c.name, users.c.wrong_passwords, users.c.suspensions).order_by(
            users.c.id
        )
        if company_id is not None:
            query = query.where(users.c.company_id == company_id)
        async with self._database.reading("list the users") as connection:
            return [
                ListedUser(
                    read_user(row),
                    row.email,
                    row.name,
                    row.wrong_passwords,
                    row.suspensions,
                    None if row.stopped is None else Stopped(row.stopped),
                )
                for row in await connection.execute(query)
            ]

    async def set_name(self, user_id: str, name: str | None, *, actor: str) -> None:
        """Set the name that letters, mails and certificates to come are made out to; None: the ID stands there.

        Raises:
            UsageError: it cannot be a name.
            StateError: there is no such user.
        """
        if name is not None:
            require_name("name", name)
        now = self._database.clock.now()
        async with self._database.writing("set a user's name") as connection:
            before = await _locked(connection, user_id)
            await connection.execute(update(users).where(users.c.id == user_id).values(name=name))
            await audit.record(connection, now, actor, "user.name", user_id, before=before.name, name=name)

    async def set_email(self, user_id: str, email: str | None, *, actor: str) -> None:
        """Set where the user's mails go; None: nowhere.

        The old address, the new one and the company's administrators are told: whoever changes an address in order to
        keep a later mail from its reader is seen by that reader.

        Raises:
            UsageError: it cannot be an address.
            StateError: there is no such user, or this is its address already.
        """
        if email is not None:
            require_address(email)
        now = self._database.clock.now()
        async with self._database.writing("set a user's mail address") as connection:
            before = await _locked(connection, user_id)
            if before.email == email:
                raise StateError(f"the mail address of user {user_id} is {email or 'none'} already")
            old = before.email
            await audit.record(connection, now, actor, "user.email", user_id, old=old, new=email)
            # An address may go and come again: each change is one to be told of.
            occasion = secrets.token_hex(8)
            facts: dict[str, audit.Detail] = {"old": old, "new": email, "at": now}
            change = update(users).where(users.c.id == user_id).values(email=email)
            if email is None:
                await post(connection, now, ADDRESS_CHANGED, user_id, occasion=occasion, facts=facts)
                await connection.execute(change)
                return
            await connection.execute(change)
            await post(connection, now, ADDRESS_CHANGED, user_id, occasion=occasion, facts=facts)
            if old is not None:
                await _post_to_the_old(connection, f"{ADDRESS_CHANGED} {occasion} {user_id}", old)

    async def stop(self, user_id: str, *, actor: str) -> int:
        """Refuse the user until it is released, and end its sessions; returns how many ended.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("stop a user") as connection:
            changed = await connection.execute(
                update(users).where(users.c.id == user_id).values(stopped=Stopped.OPERATOR.value)
            )
            if changed.rowcount == 0:
                raise unknown_user(user_id)
            ended = await end_sessions(connection, now, sessions.c.user_id == user_id, "user_stopped")
            await audit.record(connection, now, actor, "user.stop", user_id)
            await publish(connection, now, [(ChangeKind.USER, user_id), *ended])
        return len(ended)

    async def release(self, user_id: str, *, actor: str) -> None:
        """Lift every suspension and stop of the user and forget its wrong passwords.

        Raises:
            StateError: there is no such user.
        """
        now = self._database.clock.now()
        async with self._database.writing("release a user") as connection:
            changed = await connection.execute(
                update(users)
                .where(users.c.id == user_id)
                .values(stopped=None, suspended_until=None, wrong_passwords=0, suspensions=0)
            )
            if changed.rowcount == 0:
                raise unknown_user(user_id)
            await audit.record(connection, now, actor, "user.release", user_id)
            await publish(connection, now, [(ChangeKind.USER, user_id)])


async def _post_to_the_old(connection: AsyncConnection, key: str, address: str) -> None:
    """Post the mail of that key once more, to the address that the user had before."""
    posted = (await connection.execute(select(outbox).where(outbox.c.key == key))).one()
    copy = {column.name: value for column, value in zip(outbox.c, posted, strict=True) if column is not outbox.c.id}
    await connection.execute(insert(outbox).values(copy | {"key": f"{key} old", "address": address}))


async def _locked(connection: AsyncConnection, user_id: str) -> Any:
    query = select(users.c.name, users.c.email).where(users.c.id == user_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise unknown_user(user_id)
    return row


def unknown_user(user_id: str) -> StateError:
    """There is no user with exactly this ID."""
    return StateError(f"there is no user {user_id}; see: mtls-gateway user list")


def _misfits(added: Sequence[NewUser]) -> list[Problem]:
    problems: list[Problem] = []
    first: dict[str, int] = {}
    for place, new in enumerate(added):
        try:
            require_identifier("user ID", new.user_id)
            if new.email is not None:
                require_address(new.email)
            if new.name is not None:
                require_name("name", new.name)
        except UsageError as error:
            problems.append(Problem(place, str(error)))
        if first.setdefault(new.user_id, place) != place:
            problems.append(Problem(place, f"user {new.user_id} is given twice"))
    return problems


def _row(new: NewUser) -> dict[str, object]:
    return {
        "id": new.user_id,
        "company_id": new.company_id,
        "administrator": new.administrator,
        "email": new.email,
        "name": new.name,
        "wrong_passwords": 0,
        "suspensions": 0,
    }
