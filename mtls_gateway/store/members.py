"""What an administrator of a company may see and do: its company's users, and its members' certificates (clause D.6).

Who may do what is decided here, in the transaction that does it: a page that asks for another company's user, for an
administrator or for oneself finds nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.errors import MemberRefused
from mtls_gateway.model import ChangeKind, CodePurpose, CodeState, Method
from mtls_gateway.standing import UserStanding
from mtls_gateway.store import audit, codes
from mtls_gateway.store.changes import publish
from mtls_gateway.store.engine import Database
from mtls_gateway.store.revoking import revoke_usable
from mtls_gateway.store.schema import certificates, companies, enrolment_codes, users
from mtls_gateway.store.standings import read_standings


def actor_of(administrator_id: str) -> str:
    """How the audit log names an administrator: with a space, as no operator's account and no user ID has one."""
    return f"administrator {administrator_id}"


class Members:
    """Satisfies ``web.ports.MemberStore``. Every method may raise StoreUnavailable; nothing was done then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, administrator_id: str, *, limit: int, offset: int) -> tuple[int, Sequence[UserStanding]]:
        """How many users the administrator's company has, and those from ``offset`` on, by ID.

        None, and no users, for whoever is no administrator.
        """
        async with self._database.reading("list the members") as connection:
            company_id = await _company_of(connection, administrator_id)
            if company_id is None:
                return 0, ()
            its_users = users.c.company_id == company_id
            count = (await connection.execute(select(func.count()).select_from(users).where(its_users))).scalar_one()
            now = self._database.clock.now()
            return count, await read_standings(connection, now, its_users, limit=limit, offset=offset)

    async def member(self, administrator_id: str, user_id: str) -> UserStanding | None:
        """The member, where the administrator may act for it; None: there is none, whatever the reason."""
        async with self._database.reading("read a member") as connection:
            if not await _may_act_for(connection, administrator_id, user_id):
                return None
            found = await read_standings(connection, self._database.clock.now(), users.c.id == user_id, limit=1)
            return found[0] if found else None

    async def revoke(self, administrator_id: str, user_id: str, *, reason: str, cause: str) -> int:
        """Revoke whatever the member can sign in with, and take back its code; returns how many sessions ended.

        ``reason`` is what the CRL says (RFC 5280, section 5.3.1), ``cause`` what the administrator has said.

        Raises:
            MemberRefused: ``no_such_member``, or ``nothing_to_revoke``: it has neither.
        """
        now = self._database.clock.now()
        actor = actor_of(administrator_id)
        async with self._database.writing("revoke a member's certificate") as connection:
            await _lock(connection, administrator_id, user_id)
            told = await revoke_usable(connection, now, user_id, actor=actor, reason=reason)
            taken = await codes.void_pending(connection, now, [user_id])
            if not told and not taken:
                raise MemberRefused("nothing_to_revoke")
            await audit.record(connection, now, actor, "member.revoke", user_id, cause=cause, codes_taken_back=taken)
            await publish(connection, now, told)
        return _ended(told)

    async def reissue(self, administrator_id: str, user_id: str, *, reason: str, cause: str) -> int:
        """Revoke whatever the member can sign in with, then order an enrolment code; returns how many sessions ended.

        ``reason`` and ``cause`` as in :meth:`revoke`.

        Raises:
            MemberRefused: ``no_such_member``; ``never_acquired``: an application is what it needs; ``password_method``:
                its company is on that; ``letter_due``: its letter is being prepared already.
        """
        now = self._database.clock.now()
        actor = actor_of(administrator_id)
        async with self._database.writing("reissue a member's certificate") as connection:
            await _lock(connection, administrator_id, user_id)
            had = select(certificates.c.serial).where(certificates.c.user_id == user_id).limit(1)
            if (await connection.execute(had)).scalar_one_or_none() is None:
                raise MemberRefused("never_acquired")
            method = select(companies.c.method).join(users, users.c.company_id == companies.c.id)
            if (await connection.execute(method.where(users.c.id == user_id))).scalar_one() is Method.PASSWORD:
                raise MemberRefused("password_method")
            due = (enrolment_codes.c.user_id == user_id) & (enrolment_codes.c.state == CodeState.ORDERED)
            told = await revoke_usable(connection, now, user_id, actor=actor, reason=reason)
            if not told and (await connection.execute(select(enrolment_codes.c.id).where(due))).first() is not None:
                raise MemberRefused("letter_due")
            await codes.order(connection, now, [user_id], CodePurpose.REISSUE, actor)
            await audit.record(connection, now, actor, "member.reissue", user_id, cause=cause)
            await publish(connection, now, told)
        return _ended(told)


def _ended(told: Sequence[tuple[ChangeKind, str]]) -> int:
    return sum(1 for kind, _ in told if kind is ChangeKind.SESSION)


async def _company_of(connection: AsyncConnection, administrator_id: str) -> str | None:
    query = select(users.c.company_id).where(users.c.id == administrator_id, users.c.administrator)
    return (await connection.execute(query)).scalar_one_or_none()


async def _may_act_for(connection: AsyncConnection, administrator_id: str, user_id: str) -> bool:
    company_id = await _company_of(connection, administrator_id)
    if company_id is None or user_id == administrator_id:
        return False
    query = select(users.c.id).where(
        users.c.id == user_id, users.c.company_id == company_id, users.c.administrator.is_(False)
    )
    return (await connection.execute(query)).scalar_one_or_none() is not None


async def _lock(connection: AsyncConnection, administrator_id: str, user_id: str) -> None:
    await connection.execute(select(users.c.id).where(users.c.id == user_id).with_for_update())
    if not await _may_act_for(connection, administrator_id, user_id):
        raise MemberRefused("no_such_member")
