"""Mail that is to go out: posted in the transaction of what it tells of, taken by the clerk (clause D.5).

A key makes the same notice to the same person the same row, so that however often something is posted it goes out
once. Between ``SENDING`` and ``SENT`` lies the mail server's answer: a crash there may repeat that one mail, with the
same Message-ID.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mtls_gateway.clerical import Mail
from mtls_gateway.model import Fact, MailState
from mtls_gateway.store import audit
from mtls_gateway.store.engine import Database
from mtls_gateway.store.refusal import in_portions
from mtls_gateway.store.schema import UNSENT, companies, outbox, users

#: Rows in one statement: below every database's limit of parameters.
_PORTION = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to be told to a user and to each administrator of its company."""

    kind: str
    user_id: str
    #: Tells this event from another of the same kind, e.g. the certificate that it is about.
    occasion: str
    #: What the mail's text needs besides the names of user and company.
    facts: Mapping[str, Fact]


async def post(
    connection: AsyncConnection,
    now: float,
    kind: str,
    user_id: str,
    *,
    occasion: str,
    facts: Mapping[str, Fact],
) -> int:
    """Post a mail to the user and to each administrator of its company; returns how many are new.

    ``occasion`` tells this event from another of the same kind, e.g. the certificate that it is about. Whoever has no
    address gets none.
    """
    return await post_each(connection, now, [Notice(kind, user_id, occasion, facts)])


async def post_each(
    connection: AsyncConnection, now: float, notices: Sequence[Notice], *, due: float | None = None
) -> int:
    """:func:`post` many; they go out from ``due`` on (POSIX seconds), or at once. Returns how many are new."""
    told = await _people(connection, sorted({notice.user_id for notice in notices}))
    mails = [
        {
            "key": f"{notice.kind} {notice.occasion} {recipient.id}",
            "kind": notice.kind,
            "user_id": notice.user_id,
            "recipient_id": recipient.id,
            "address": recipient.email,
            "facts": {
                **notice.facts,
                "user_name": recipient.user_name,
                "recipient_name": recipient.name,
                "company_ja": recipient.name_ja,
                "company_en": recipient.name_en,
            },
            "state": MailState.WAITING,
            "posted": now,
            "due": now if due is None else max(now, due),
            "tries": 0,
        }
        for notice in notices
        for recipient in told.get(notice.user_id, ())
    ]
    known = await in_portions(connection, outbox.c.key, [mail["key"] for mail in mails])
    new = list({mail["key"]: mail for mail in mails if mail["key"] not in known}.values())
    for start in range(0, len(new), _PORTION):
        await connection.execute(insert(outbox), new[start : start + _PORTION])
    return len(new)


async def _people(connection: AsyncConnection, user_ids: Sequence[str]) -> Mapping[str, list[Any]]:
    """Who is told of each user: itself, and the administrators of its company; by ID."""
    subject = users.alias("subject")
    columns = (
        subject.c.id.label("user_id"),
        subject.c.name.label("user_name"),
        users.c.id,
        users.c.name,
        users.c.email,
        companies.c.name_ja,
        companies.c.name_en,
    )
    company = companies.c.id == subject.c.company_id
    told: dict[str, list[Any]] = {}
    for start in range(0, len(user_ids), _PORTION):
        wanted = subject.c.id.in_(user_ids[start : start + _PORTION])
        # Two queries, each with an index of its own; with OR there would be none.
        own = users.c.id == subject.c.id
        administrators = (users.c.company_id == subject.c.company_id) & users.c.administrator & ~own
        for who in (own, administrators):
            query = select(*columns).select_from(subject).join(users, who).join(companies, company)
            query = query.where(wanted, users.c.email.is_not(None)).order_by(users.c.id)
            for row in await connection.execute(query):
                told.setdefault(row.user_id, []).append(row)
    return told


class Outbox:
    """The clerk's side; satisfies ``mail.ports.Outbox``. Every method may raise StoreUnavailable: nothing was done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, limit: int, *, lease: float, farthest: float = 2**40) -> Sequence[Mail]:
        """Mails that are due, oldest first, each now SENDING and due again in ``lease`` seconds.

        What is due in more than ``farthest`` seconds was posted while the clock was wrong: it is due now. A mail that
        was SENDING all that time belonged to a clerk that has died: it is taken again, and says so.
        """
        now = self._database.clock.now()
        due = (
            select(outbox.c.id, outbox.c.state)
            .where(UNSENT, or_(outbox.c.due <= now, outbox.c.due > now + farthest))
            .order_by(outbox.c.due, outbox.c.id)
            .limit(limit)
        )
        async with self._database.reading("look for mails that are due") as connection:
            # Most often there is none, and nobody who writes shall wait for that.
            if (await connection.execute(due.limit(1))).first() is None:
                return []
        async with self._database.writing("take mails from the outbox") as connection:
            chosen = (await connection.execute(due.with_for_update(skip_locked=True))).all()
            if not chosen:
                return []
            taken = await connection.execute(
                update(outbox)
                .where(outbox.c.id.in_([row.id for row in chosen]))
                .values(state=MailState.SENDING, due=now + lease, tries=outbox.c.tries + 1)
                .returning(outbox)
            )
            left_behind = {row.id for row in chosen if row.state is MailState.SENDING}
            mails = (_mail(row, may_repeat=row.id in left_behind) for row in taken)
            return sorted(mails, key=lambda mail: mail.mail_id)

    async def sent(self, mail_id: int) -> None:
        """The mail server has accepted it."""
        await self._end([mail_id], MailState.SENT, None)

    async def failed(self, mail_id: int, error: str) -> None:
        """It will never be accepted."""
        await self._end([mail_id], MailState.FAILED, error)

    async def postpone(self, mail_id: int, until: float, error: str) -> None:
        """Try it again at ``until``; ``error`` says why."""
        await self._wait([mail_id], {"due": until, "error": error})

    async def give_back(self, mail_ids: Iterable[int], until: float, error: str) -> None:
        """Nothing was tried, because the mail server was away: it does not count as a try."""
        await self._wait(list(mail_ids), {"due": until, "error": error, "tries": outbox.c.tries - 1})

    async def _wait(self, mail_ids: Sequence[int], values: Mapping[str, Any]) -> None:
        async with self._database.writing("postpone mails") as connection:
            await connection.execute(
                update(outbox)
                .where(outbox.c.id.in_(mail_ids), outbox.c.state == MailState.SENDING)
                .values(state=MailState.WAITING, **values)
            )

    async def fail_all(self, error: str, limit: int = _PORTION) -> int:
        """Let due mails fail, oldest first, because none can be sent; returns how many."""
        due = (
            select(outbox.c.id)
            .where(UNSENT, outbox.c.due <= self._database.clock.now())
            .order_by(outbox.c.due, outbox.c.id)
            .limit(limit)
        )
        async with self._database.reading("list the mails that are due") as connection:
            chosen = (await connection.execute(due)).scalars().all()
        if chosen:
            await self._end(chosen, MailState.FAILED, error)
        return len(chosen)

    async def retry(self, mail_ids: Iterable[int] | None = None, *, actor: str, limit: int = _PORTION) -> int:
        """Try failed mails once more, these or any; at most ``limit``. Returns how many there were."""
        now = self._database.clock.now()
        failed = select(outbox.c.id).where(outbox.c.state == MailState.FAILED).order_by(outbox.c.id).limit(limit)
        if mail_ids is not None:
            failed = failed.where(outbox.c.id.in_(list(mail_ids)))
        async with self._database.writing("retry mails") as connection:
            chosen = (await connection.execute(failed.with_for_update())).scalars().all()
            await connection.execute(
                update(outbox)
                .where(outbox.c.id.in_(chosen))
                .values(state=MailState.WAITING, due=now, tries=0, ended=None, error=None)
            )
            await audit.record_each(connection, now, actor, "mail.retry", [(str(one), {}) for one in chosen])
            return len(chosen)

    async def all(
        self, *, state: MailState | None = None, user_id: str | None = None, limit: int = 1_000
    ) -> list[Mail]:
        """Mails, newest first."""
        query = select(outbox).order_by(outbox.c.id.desc()).limit(limit)
        if state is not None:
            query = query.where(outbox.c.state == state)
        if user_id is not None:
            query = query.where(outbox.c.user_id == user_id)
        async with self._database.reading("list the outbox") as connection:
            return [_mail(row) for row in await connection.execute(query)]

    async def waiting(self) -> tuple[int, float | None]:
        """How many mails are due and not sent, and since when the oldest is (POSIX seconds)."""
        # By when they were due first, not next: what is tried again and again has waited all the time.
        query = select(func.count(), func.min(outbox.c.posted)).where(
            UNSENT, (outbox.c.due <= self._database.clock.now()) | (outbox.c.error.is_not(None))
        )
        async with self._database.reading("look at the outbox") as connection:
            count, oldest = (await connection.execute(query)).one()
        return count, oldest

    async def prune(self, before: float, limit: int = 1_000) -> int:
        """Forget mails that were posted and have ended before ``before`` (POSIX seconds); returns how many."""
        oldest = select(outbox.c.id).order_by(outbox.c.id).limit(limit).scalar_subquery()
        over = ~UNSENT & (outbox.c.posted < before) & (outbox.c.ended < before)
        removed = 0
        while True:
            async with self._database.writing("prune the outbox") as connection:
                gone = await connection.execute(delete(outbox).where(outbox.c.id.in_(oldest), over))
            removed += gone.rowcount
            if gone.rowcount < limit:
                return removed

    async def _end(self, mail_ids: Sequence[int], state: MailState, error: str | None) -> None:
        now = self._database.clock.now()
        async with self._database.writing("note how mails ended") as connection:
            await connection.execute(
                update(outbox).where(outbox.c.id.in_(mail_ids), UNSENT).values(state=state, ended=now, error=error)
            )


def _mail(row: Row[Any], *, may_repeat: bool = False) -> Mail:
    return Mail(
        row.id,
        row.key,
        row.kind,
        row.user_id,
        row.recipient_id,
        row.address,
        row.facts,
        row.state,
        row.posted,
        row.due,
        row.tries,
        row.ended,
        row.error,
        may_repeat,
    )
